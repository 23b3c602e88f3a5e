/** A place for a secondary, offered by a server in this process on a unix socket; and a primary's side of it, by hand. */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { OWN_OPTIONS } from '../../../src/nbd/protocol/constants.js';
import { encodeOwnRequest } from '../../../src/nbd/protocol/option-data.js';
import type { HostTelling } from '../../../src/volume/replication/secondary/hosted-place.js';
import type { SecondaryToMake } from '../../../src/volume/replication/secondary/place.js';
import { RemotePlace } from '../../../src/volume/replication/secondary/remote-place.js';
import { ServedSecondary } from '../../../src/volume/serve-secondary.js';
import { scratchDirectory } from '../devices/scratch.js';
import { type OptionReply, RawClient } from '../nbd/raw-client.js';

export const PLACE_BYTES = 1024 * 1024;

/** A fault fails the test that runs, and so does a warning. */
export const AT_ONCE: HostTelling = {
  onFault: (error) => {
    throw error;
  },
  warn: (message) => {
    throw new Error(message);
  },
};

export interface Hosted {
  readonly served: ServedSecondary;
  readonly image: string;
  readonly socket: string;
  readonly uri: string;
  readonly place: RemotePlace;
  greeted(): Promise<RawClient>;
}

export async function hosted(sizeBytes = PLACE_BYTES): Promise<Hosted> {
  const folder = await scratchDirectory();
  const image = join(folder, 'second.img');
  const socket = join(folder, 'nbd.sock');
  const faults: unknown[] = [];
  const served = await ServedSecondary.open([image], {
    ...{ exportNames: [], tls: undefined, sizeBytes },
    onFault: (error) => faults.push(error),
    warn: (message) => faults.push(message),
  });
  await served.server.listenUnix(socket);
  const clients: RawClient[] = [];
  onTestFinished(async () => {
    for (const client of clients) client.close();
    await served.stop();
    expect(faults).toEqual([]);
  });
  const uri = `nbd+unix:///?socket=${socket}`;
  const greeted = async () => {
    const client = await RawClient.greeted(socket);
    clients.push(client);
    return client;
  };
  return { served, image, socket, uri, place: new RemotePlace(uri), greeted };
}

export function newSecondary(given: Partial<SecondaryToMake> = {}): SecondaryToMake {
  const id = () => randomBytes(16).toString('hex');
  return {
    ...{ volumeUuid: id(), replicaUuid: id(), sizeBytes: PLACE_BYTES, force: false },
    generation: { number: 1, id: id() },
    ...given,
  };
}

export const NEVER = new AbortController().signal;

/** What the option is answered with; `payload`: as it is, or JSON of it. */
export function asked(client: RawClient, payload: Uint8Array | object, name = ''): Promise<OptionReply[]> {
  const bytes = payload instanceof Uint8Array ? payload : Buffer.from(JSON.stringify(payload));
  const data = encodeOwnRequest({ name, payload: Buffer.from(bytes) });
  return client.option(OWN_OPTIONS.NBD_OPT_HOLDFAST_SECONDARY, data);
}
