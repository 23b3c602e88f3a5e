/** Marks as lines of text, in pieces as they come: each line is the name of one. */

const MAX_NAME_BYTES = 4096;
const NEWLINE = 10;

export type MarkLine =
  | { readonly kind: 'mark'; readonly name: string }
  | { readonly kind: 'refused'; readonly why: string };

export class MarkLines {
  #begun: Uint8Array[] = [];
  #begunBytes = 0;

  /** A line has begun that has no end yet. */
  get isAmid(): boolean {
    return this.#begunBytes > 0;
  }

  /** The lines that end in `bytes`, which are the caller's afterwards. */
  *take(bytes: Uint8Array): Generator<MarkLine> {
    let start = 0;
    for (let end = bytes.indexOf(NEWLINE); end >= 0; end = bytes.indexOf(NEWLINE, start)) {
      this.#add(bytes.subarray(start, end));
      start = end + 1;
      yield this.#line();
    }
    this.#add(bytes.slice(start));
  }

  #add(part: Uint8Array): void {
    // Of a line that is too long no more is kept than what shows that.
    if (part.byteLength > 0 && this.#begunBytes <= MAX_NAME_BYTES) this.#begun.push(part);
    this.#begunBytes += part.byteLength;
  }

  #line(): MarkLine {
    const [bytes, length] = [Buffer.concat(this.#begun), this.#begunBytes];
    this.#begun = [];
    this.#begunBytes = 0;
    if (length === 0) return refused('an empty line is no name');
    if (length > MAX_NAME_BYTES) {
      return refused(`a name has at most ${MAX_NAME_BYTES} bytes, and this one has ${length}`);
    }
    const name = decoded(bytes);
    if (name === null) return refused('a name is text in UTF-8');
    if (/\p{Cc}/u.test(name)) return refused('a name has no control characters');
    return { kind: 'mark', name };
  }
}

function refused(why: string): MarkLine {
  return { kind: 'refused', why };
}

function decoded(bytes: Uint8Array): string | null {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}
