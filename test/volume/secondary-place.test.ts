/** A place for a secondary behind a server of ours, at the level of the wire: what is answered, who may write, who is fenced. */

import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import net from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openImage } from '../../src/device/open-image.js';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import {
  COMMANDS,
  ERROR_REPLIES,
  NBD_REP_HOLDFAST,
  OPTIONS,
  OWN_OPTIONS,
  REPLIES,
  TRANSMISSION_FLAGS,
} from '../../src/nbd/protocol/constants.js';
import { encodeGreeting } from '../../src/nbd/protocol/handshake.js';
import { decodeInfo, encodeInfoRequest } from '../../src/nbd/protocol/option-data.js';
import { ConnectionEnded } from '../../src/nbd/wire/socket-reader.js';
import { epochCost } from '../../src/replication/secondary/index.js';
import { SecondaryHost } from '../../src/volume/replication/secondary/host.js';
import { makeParts, marksOf } from '../../src/volume/replication/secondary/image-place.js';
import { hexOf } from '../../src/volume/replication/secondary/place.js';
import { RemotePlace } from '../../src/volume/replication/secondary/remote-place.js';
import { ServedImage } from '../nbd/client/served-image.js';
import { isInstalled } from '../nbd/client/servers.js';
import { scratchDirectory } from '../support/devices/scratch.js';
import { withSeed } from '../support/devices/seeded-random.js';
import type { RawClient } from '../support/nbd/raw-client.js';
import {
  AT_ONCE,
  asked,
  hosted,
  NEVER,
  newSecondary,
  PLACE_BYTES,
} from '../support/replication/hosted-place.js';

const { NBD_REP_ERR_INVALID, NBD_REP_ERR_TOO_BIG, NBD_REP_ERR_UNKNOWN, NBD_REP_ERR_POLICY } = ERROR_REPLIES;
const OPTION = OWN_OPTIONS.NBD_OPT_HOLDFAST_SECONDARY;

async function readAll(uri: string): Promise<Buffer> {
  const device = await NbdDevice.open(uri, { readOnly: true, reconnect: { tries: 0 } });
  try {
    const bytes = Buffer.alloc(PLACE_BYTES);
    await device.read(0, bytes);
    return bytes;
  } finally {
    await device.close();
  }
}

/** A primary by hand: joined, and in the transmission phase. */
async function joinedRaw(client: RawClient, ids: object): Promise<{ session: string; flags: number }> {
  const [reply] = await asked(client, { holdfast: 1, request: 'join', ...ids });
  expect(reply!.reply).toBe(NBD_REP_HOLDFAST);
  const { session } = JSON.parse(reply!.data.toString()) as { session: string };
  const replies = await client.accepted(OPTIONS.NBD_OPT_GO, encodeInfoRequest({ name: '', infos: [] }));
  const info = decodeInfo(replies[0]!.data);
  return { session, flags: info?.kind === 'export' ? info.transmissionFlags : 0 };
}

/** The server has hung up, with or without a reset. */
async function gone(client: RawClient): Promise<void> {
  await client.ended().catch((error: unknown) => expect(error).toBeInstanceOf(ConnectionEnded));
}

describe('what is no request', () => {
  const long = Buffer.alloc(20_000, 32);
  const join = { holdfast: 1, request: 'join', volumeUuid: 'no hex', replicaUuid: '00' };
  it.each([
    ['no JSON', Buffer.from('{"holdfast":1'), NBD_REP_ERR_INVALID],
    ['nothing', Buffer.alloc(0), NBD_REP_ERR_INVALID],
    ['JSON of something else', Buffer.from('[1,2]'), NBD_REP_ERR_INVALID],
    ['another version', { holdfast: 2, request: 'look' }, NBD_REP_ERR_INVALID],
    ['a request that is not known', { holdfast: 1, request: 'format' }, NBD_REP_ERR_INVALID],
    ['wrong fields', join, NBD_REP_ERR_INVALID],
    ['fields that lack', { holdfast: 1, request: 'begin-resync' }, NBD_REP_ERR_INVALID],
    ['too long', long, NBD_REP_ERR_TOO_BIG],
  ])('%s is answered, and the conversation goes on', async (_name, payload, verdict) => {
    const client = await (await hosted()).greeted();
    expect((await asked(client, payload)).at(-1)!.reply).toBe(verdict);
    const [look, end] = await asked(client, { holdfast: 1, request: 'look' });
    expect(JSON.parse(look!.data.toString())).toEqual({ sizeBytes: PLACE_BYTES, marks: null });
    expect(end!.reply).toBe(REPLIES.NBD_REP_ACK);
  });

  it('a name that is none, or longer than the data', async () => {
    const client = await (await hosted()).greeted();
    expect((await asked(client, { holdfast: 1, request: 'look' }, 'other')).at(-1)!.reply).toBe(
      NBD_REP_ERR_UNKNOWN,
    );
    expect(await client.verdict(OPTION, Buffer.from([0, 0, 1, 0, 65]))).toBe(NBD_REP_ERR_INVALID);
    expect(await client.verdict(OPTIONS.NBD_OPT_LIST)).toBe(REPLIES.NBD_REP_ACK);
  });

  it('what is refused says why for people and for programs', async () => {
    const client = await (await hosted()).greeted();
    const { volumeUuid, replicaUuid } = newSecondary();
    const replies = await asked(client, { holdfast: 1, request: 'join', volumeUuid, replicaUuid });
    expect(replies.map(({ reply }) => reply)).toEqual([NBD_REP_HOLDFAST, NBD_REP_ERR_POLICY]);
    expect(JSON.parse(replies[0]!.data.toString())).toMatchObject({ error: { code: 'REFUSED' } });
    expect(replies[1]!.data.toString()).toContain('is no secondary');
  });
});

describe('servers that offer no place', () => {
  it('one that hangs up on the option', async () => {
    const path = join(await scratchDirectory(), 'socket');
    const server = net.createServer((socket) => {
      socket.on('error', () => {}).write(encodeGreeting(3));
      let taken = 0;
      socket.on('data', (bytes) => {
        taken += bytes.byteLength;
        if (taken > 4) socket.destroy();
      });
    });
    server.listen(path);
    await once(server, 'listening');
    onTestFinished(() => void server.close());
    expect(await RemotePlace.find(`nbd+unix:///?socket=${path}`)).toBeNull();
  });

  it.each(['qemu-nbd', 'nbdkit'] as const)('%s does not know it', async (program) => {
    if (!isInstalled(program)) return;
    const served = await ServedImage.by(
      (place, image) =>
        program === 'nbdkit' ? place.nbdkit('file', image) : place.qemuNbd('-f', 'raw', image),
      PLACE_BYTES,
    );
    onTestFinished(() => served.remove());
    expect(await RemotePlace.find(served.uri)).toBeNull();
  });
});

describe('make', () => {
  it('is refused over content, over what another volume has, and where a primary is connected; not by force', async () => {
    const { place, served } = await hosted();
    const first = newSecondary();
    await place.make(first);
    // Nothing is written yet; it is another volume's all the same.
    await expect(place.make(newSecondary())).rejects.toMatchObject({ code: 'REFUSED' });
    const joined = await place.join(first, NEVER);
    await expect(place.make({ ...first, replicaUuid: 'ab'.repeat(16) })).rejects.toMatchObject({
      code: 'IN_USE',
    });
    await joined.device.write(4096, Buffer.alloc(4096, 7));
    await joined.device.flush();
    await joined.close();
    await expect.poll(() => served.status().secondary!.isJoined).toBe(false);
    await expect(place.make({ ...first, replicaUuid: 'ab'.repeat(16) })).rejects.toMatchObject({
      code: 'NOT_BLANK',
      details: { offsetBytes: 4096 },
    });
    await place.make(newSecondary({ force: true }));
    expect((await place.look()).marks).toMatchObject({ state: 'initial' });
    await expect(place.join(first, NEVER)).rejects.toMatchObject({ details: { reason: 'diverged' } });
  });

  it('is refused where the image is shorter than the volume', async () => {
    const { place } = await hosted();
    const large = newSecondary({ sizeBytes: 2 * PLACE_BYTES });
    await expect(place.make(large)).rejects.toMatchObject({
      code: 'REFUSED',
      details: { neededBytes: 2 * PLACE_BYTES },
    });
    expect((await place.look()).marks).toBeNull();
  });

  it('that fails leaves what was there: no secondary, or the one before', async () => {
    const path = join(await scratchDirectory(), 'image');
    const image = await openImage(path, { readOnly: false, create: { size: PLACE_BYTES } });
    onTestFinished(() => image.close());
    const first = newSecondary();
    // It is found to be too short when all files are there.
    const fails = () => makeParts(image, path, newSecondary({ sizeBytes: 2 * PLACE_BYTES }));
    await expect(fails()).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
    expect(await marksOf(path)).toBeNull();
    await makeParts(image, path, first);
    await expect(fails()).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
    expect(hexOf((await marksOf(path))!.replicaUuid)).toBe(first.replicaUuid);
    expect(await readdir(`${path}.holdfast`)).toEqual(['secondary']);
  });
});

describe('who joins', () => {
  it('writes, on one connection; all others read what it has gathered, and nothing else', async () => {
    const { place, uri, greeted } = await hosted();
    const ids = newSecondary();
    await place.make(ids);
    const client = await greeted();
    const { flags } = await joinedRaw(client, ids);
    const { NBD_FLAG_READ_ONLY, NBD_FLAG_CAN_MULTI_CONN } = TRANSMISSION_FLAGS;
    expect(flags & (NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN)).toBe(0);
    const written = await client.ask({
      command: COMMANDS.NBD_CMD_WRITE,
      offset: 512,
      data: Buffer.alloc(512, 3),
    });
    expect(written.error).toBe(0);
    expect((await readAll(uri)).subarray(512, 1024)).toEqual(Buffer.alloc(512, 3));
    await expect(NbdDevice.open(uri, { readOnly: false })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    const plain = await greeted();
    await plain.begin({});
    const refused = await plain.ask({
      command: COMMANDS.NBD_CMD_WRITE,
      offset: 0,
      data: Buffer.alloc(512, 9),
    });
    expect(refused.error).not.toBe(0);
    expect((await readAll(uri))[0]).toBe(0);
  });

  it('finds what was flushed, and nothing else, when the connection before was lost', async () => {
    const { place, uri, served, greeted } = await hosted();
    const ids = newSecondary();
    await place.make(ids);
    const client = await greeted();
    await joinedRaw(client, ids);
    const write = (offset: number) =>
      client.ask({ command: COMMANDS.NBD_CMD_WRITE, offset, data: Buffer.alloc(512, 5) });
    await write(0);
    await client.ask({ command: COMMANDS.NBD_CMD_FLUSH });
    await write(512);
    client.close();
    await expect.poll(() => served.status().secondary!.isJoined).toBe(false);
    const bytes = await readAll(uri);
    expect([bytes[0], bytes[512]]).toEqual([5, 0]);
    expect(served.status().secondary).toMatchObject({ marks: { point: { epoch: 1 } } });
  });

  it('is told how long an epoch may be, also of writes that the server takes in pieces', async () => {
    const MIB = 1024 * 1024;
    const { place } = await hosted(4 * MIB);
    const ids = newSecondary({ sizeBytes: 4 * MIB });
    await place.make(ids);
    const { device, epochBytes, close } = await place.join(ids, NEVER);
    // Each is cut into three, and counts as one to who sends it.
    const bytes = Buffer.alloc(MIB + 1024, 6);
    let left = epochBytes - epochCost(0);
    for (; left >= epochCost(bytes.byteLength); left -= epochCost(bytes.byteLength))
      await device.write(MIB - 512, bytes);
    const rest = Math.floor((left - epochCost(0)) / 512) * 512;
    await device.write(0, bytes.subarray(0, rest));
    await device.flush();
    expect((await place.look()).marks).toMatchObject({ point: { epoch: 1 } });
    await close();
  });

  it('fences who came before: its writes and its resync are over', async () => {
    const { place, uri, greeted } = await hosted();
    const ids = newSecondary();
    await place.make(ids);
    const old = await greeted();
    const { session } = await joinedRaw(old, ids);
    await old.ask({ command: COMMANDS.NBD_CMD_WRITE, offset: 0, data: Buffer.alloc(512, 1) });
    const newer = await place.join(ids, NEVER);
    old.post({ command: COMMANDS.NBD_CMD_WRITE, offset: 512, data: Buffer.alloc(512, 1) });
    old.post({ command: COMMANDS.NBD_CMD_FLUSH });
    await gone(old);
    const asker = await greeted();
    for (const request of ['begin-resync', 'end-resync']) {
      const fields = { session, generation: ids.generation, atMs: 1 };
      const replies = await asked(asker, { holdfast: 1, request, ...fields });
      expect(replies.at(-1)!.reply).toBe(NBD_REP_ERR_POLICY);
      expect(JSON.parse(replies[0]!.data.toString())).toMatchObject({
        error: { details: { reason: 'fenced' } },
      });
    }
    expect((await readAll(uri)).subarray(0, 1024)).toEqual(Buffer.alloc(1024));
    await newer.device.write(0, Buffer.alloc(512, 2));
    await newer.endResync(ids.generation);
    expect((await place.look()).marks).toMatchObject({ state: 'consistent', point: { epoch: 1 } });
    await newer.close();
  });

  it('has all or nothing of an epoch that was on its way from who came before', () =>
    withSeed(async (random) => {
      const { place, uri, greeted } = await hosted();
      const ids = newSecondary();
      await place.make(ids);
      for (let round = 1; round <= 8; round++) {
        const old = await greeted();
        await joinedRaw(old, ids);
        const before = await readAll(uri);
        const offsets = Array.from({ length: 20 }, () => random.below(PLACE_BYTES / 4096) * 4096);
        for (const offset of offsets)
          old.post({ command: COMMANDS.NBD_CMD_WRITE, offset, data: Buffer.alloc(4096, round) });
        old.post({ command: COMMANDS.NBD_CMD_FLUSH });
        for (let turns = random.below(40); turns > 0; turns--)
          await new Promise((next) => setImmediate(next));
        const newer = await place.join(ids, NEVER);
        const found = Buffer.alloc(PLACE_BYTES);
        await newer.device.read(0, found);
        const after = Buffer.from(before);
        for (const offset of offsets) after.fill(round, offset, offset + 4096);
        expect(found.equals(before) || found.equals(after)).toBe(true);
        await gone(old);
        expect((await readAll(uri)).equals(found)).toBe(true);
        await newer.close();
      }
    }));

  it('fences one that cannot be hung up, too: its device takes nothing more', async () => {
    const image = join(await scratchDirectory(), 'image');
    const host = await SecondaryHost.open(image, PLACE_BYTES, AT_ONCE);
    onTestFinished(() => host.close());
    const ids = newSecondary();
    await host.make(ids);
    const deaf = { hangUp: () => {}, ended: new Promise<void>(() => {}) };
    const old = await host.join(ids, deaf);
    const gathered = old.device.write(0, Buffer.alloc(512, 1));
    const newer = await host.join(ids, deaf);
    await gathered;
    await expect(old.device.write(512, Buffer.alloc(512, 1))).rejects.toMatchObject({ code: 'IO_ERROR' });
    await expect(old.device.flush()).rejects.toMatchObject({ code: 'IO_ERROR' });
    await newer.device.flush();
    const bytes = Buffer.alloc(1024, 9);
    await host.view.read(0, bytes);
    expect(bytes).toEqual(Buffer.alloc(1024));
    await expect(host.beginResync(old.session)).rejects.toMatchObject({ details: { reason: 'fenced' } });
  });

  it('is refused when it is a stranger, and ends nobody', async () => {
    const { place, served } = await hosted();
    const ids = newSecondary();
    await place.make(ids);
    const joined = await place.join(ids, NEVER);
    await expect(place.join(newSecondary(), NEVER)).rejects.toMatchObject({ code: 'REFUSED' });
    await joined.device.write(0, Buffer.alloc(512, 1));
    await joined.device.flush();
    expect(served.status().secondary).toMatchObject({ isJoined: true, marks: { point: { epoch: 1 } } });
    await joined.close();
  });
});
