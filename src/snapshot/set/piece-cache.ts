/** Pieces that were read last: a piece is read as a whole, and who reads on wants the rest of it. */
const MOST_BYTES = 16 * 1024 * 1024;

export class PieceCache {
  /** The one that was used last is last. */
  readonly #kept = new Map<string, { readonly content: Promise<Uint8Array>; readonly length: number }>();
  #bytes = 0;

  /** One that failed is read again by who asks next. */
  get(key: string, length: number, read: () => Promise<Uint8Array>): Promise<Uint8Array> {
    const content = this.#take(key) ?? read();
    this.#kept.set(key, { content, length });
    this.#bytes += length;
    content.catch(() => {
      if (this.#kept.get(key)?.content === content) void this.#take(key);
    });
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= MOST_BYTES || oldest === key) break;
      void this.#take(oldest);
    }
    return content;
  }

  #take(key: string): Promise<Uint8Array> | null {
    const kept = this.#kept.get(key);
    if (kept === undefined) return null;
    this.#kept.delete(key);
    this.#bytes -= kept.length;
    return kept.content;
  }
}
