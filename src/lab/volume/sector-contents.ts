/** The different contents that one sector has had. */
export class SectorContents {
  readonly #all: Uint8Array[] = [];

  /** Its number, a known one's too. */
  add(bytes: Uint8Array): number {
    const known = this.find(bytes);
    if (known >= 0) return known;
    this.#all.push(bytes.slice());
    return this.#all.length - 1;
  }

  get(number: number): Uint8Array {
    return this.#all[number]!;
  }

  /** -1: it never had that. */
  find(bytes: Uint8Array): number {
    return this.#all.findIndex((each) => Buffer.compare(each, bytes) === 0);
  }
}
