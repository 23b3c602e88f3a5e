/** What is read from disk is looked at before it is counted with. */

/** Numbers from disk above this are damage: nothing here comes so far, and what follows can still be counted. */
const MOST = 2n ** 52n;

/** As a number to count with; null: nothing that was ever written says so much. */
export function countable(value: bigint): number | null {
  return value <= MOST ? Number(value) : null;
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
