/**
 * Parity a byte at a time. It is what the kernels are checked against, and what does the few bytes that are
 * left over when a length is no whole number of the kernels' blocks.
 */

/** target = XOR of all sources, zeroes for none. All have one length; the target may be the first source. */
export function xorOf(target: Uint8Array, sources: readonly Uint8Array[]): void {
  for (let at = 0; at < target.length; at++) target[at] = xorAt(sources, at);
}

/** The first offset at which the XOR of all sources is not zero, or -1. All have one length. */
export function firstMismatch(sources: readonly Uint8Array[]): number {
  const length = sources[0]?.length ?? 0;
  for (let at = 0; at < length; at++) if (xorAt(sources, at) !== 0) return at;
  return -1;
}

function xorAt(sources: readonly Uint8Array[], at: number): number {
  let sum = 0;
  for (const source of sources) sum ^= source[at]!;
  return sum;
}
