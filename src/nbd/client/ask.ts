/** One question to an export, by an option of holdfast's own, on a connection of its own that ends with the answer. */
import { ask } from './connect.js';
import type { ExtensionReply, ExtensionRequest } from './handshake.js';
import { readCredentials } from './tls.js';
import { parseNbdUri } from './uri.js';

export interface AskOptions {
  /** For all of it, the server's work too. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * @throws ConnectionLost where there was no answer: what was asked for may have been done or not; UserError for the URI, and
 *   where the server speaks no NBD, wants TLS, or has no such export.
 */
export async function askExport(
  uri: string,
  request: ExtensionRequest,
  { timeoutMs, signal = new AbortController().signal }: AskOptions,
): Promise<ExtensionReply> {
  const target = parseNbdUri(uri);
  return ask(target, request, { timeoutMs, signal, credentials: await readCredentials(target) });
}
