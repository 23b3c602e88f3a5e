/**
 * A server of a test's own, in this process, on a unix socket; it has stopped when the test has ended, and a fault of
 * the server's fails the test.
 */
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { Export } from '../../../src/nbd/server/export.js';
import { NbdServer, type ServerOptions } from '../../../src/nbd/server/server.js';
import { scratchDirectory } from '../devices/scratch.js';
import { RawClient } from './raw-client.js';

export interface Served {
  readonly server: NbdServer;
  readonly path: string;
  /** What was reported as a fault of ours; none is expected. */
  readonly faults: unknown[];
  uri(name?: string): string;
  /** In the transmission phase, as `RawClient.begin` has it. */
  client(options?: Parameters<RawClient['begin']>[0]): Promise<RawClient>;
  /** Where options begin. */
  greeted(flags?: number): Promise<RawClient>;
}

export async function served(
  exports: readonly Export[],
  options: Partial<ServerOptions> = {},
): Promise<Served> {
  const path = join(await scratchDirectory(), 'nbd.sock');
  const faults: unknown[] = [];
  const server = new NbdServer({ exports, onFault: (error) => faults.push(error), ...options });
  await server.listenUnix(path);
  const clients: RawClient[] = [];
  const keep = async (client: Promise<RawClient>) => {
    clients.push(await client);
    return client;
  };
  onTestFinished(async () => {
    for (const client of clients) client.close();
    await server.stopNow();
    expect(faults).toEqual([]);
  });
  return {
    server,
    path,
    faults,
    uri: (name = '') => `nbd+unix:///${name}?socket=${path}`,
    client: (begin) => keep(RawClient.transmitting(path, begin)),
    greeted: (flags) => keep(RawClient.greeted(path, flags)),
  };
}
