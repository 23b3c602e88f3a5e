/** The hash of a piece's content, made on another thread: a megabyte of it would hold up whoever is served meanwhile. */
import { webcrypto } from 'node:crypto';

export async function hashOfContent(content: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.digest('SHA-256', content));
}
