/** Identifiers of 16 bytes as people write them. Source: RFC 9562, and UEFI specification 2.10, appendix A. */

/** As the bytes lie. */
export function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString('hex');
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return parts.join('-');
}

/** The first three parts are little-endian. */
export function guidText(bytes: Uint8Array): string {
  const turned = [...bytes.subarray(0, 4)].reverse().concat([bytes[5]!, bytes[4]!, bytes[7]!, bytes[6]!]);
  return uuidText(Uint8Array.from([...turned, ...bytes.subarray(8, 16)]));
}
