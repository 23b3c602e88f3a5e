/**
 * Nonsense of all kinds against a server: conversations from the corpus, changed at random places, cut, repeated
 * and put together anew. Whatever comes: no fault of ours, nothing held afterwards, a device that was never called
 * with overlapping calls in flight or out of range, and a client beside it that sees its own data all the time.
 *
 * HOLDFAST_FUZZ_ROUNDS makes it longer. What once found a fault is added to the corpus (test/nbd/corpus, as hex
 * with comments): each conversation there is also played as it is.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { COMMANDS } from '../../../src/nbd/protocol/constants.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { pattern, RawClient } from '../../support/nbd/raw-client.js';
import { type Served, served } from '../../support/nbd/served.js';

const SIZE = 4 * 1024 * 1024;
/** Of the second export, which nobody but the client that looks on uses. */
const OWN = 'own';
const ROUNDS = Number(process.env.HOLDFAST_FUZZ_ROUNDS ?? 300);
const CORPUS = join(import.meta.dirname, '..', 'corpus');

/** Lines of hex; what follows # is for people. */
function conversation(text: string): Buffer {
  const hex = text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').replace(/\s/g, ''))
    .join('');
  return Buffer.from(hex, 'hex');
}

const corpus = readdirSync(CORPUS)
  .filter((name) => name.endsWith('.hex'))
  .toSorted()
  .map((name) => ({ name, bytes: conversation(readFileSync(join(CORPUS, name), 'utf8')) }));

interface Target extends Served {
  readonly device: FaultyDevice;
}

async function target(seed: number): Promise<Target> {
  const device = new FaultyDevice(new MemoryDevice(SIZE), {
    seed,
    maxDelayTurns: 2,
    rules: [{ probability: 0.02, operations: ['read', 'write', 'trim', 'write-zeroes'] }],
  });
  const exports = [
    { name: '', device, zeroesFast: true },
    { name: OWN, device: new MemoryDevice(SIZE) },
  ];
  return { device, ...(await served(exports, { handshakeLimitMs: 2000 })) };
}

/** Says all of it, takes what comes, and hangs up; `pieces` are sent a turn of the event loop apart. */
async function play(path: string, pieces: readonly Buffer[], hangsUp: boolean): Promise<void> {
  const client = await RawClient.connect(path);
  client.reader.detach();
  client.socket.resume();
  for (const piece of pieces) {
    client.send(piece);
    await setImmediate();
  }
  if (hangsUp) client.close();
  else client.socket.end();
  await new Promise<void>((resolve) => {
    if (client.socket.closed) resolve();
    else client.socket.once('close', () => resolve());
  });
}

async function settled({ server }: Target): Promise<void> {
  const isQuiet = () => {
    const { connections, handshakes, heldBytes } = server.status();
    return connections.length === 1 && handshakes === 0 && heldBytes === 0;
  };
  while (!isQuiet()) await setImmediate();
}

/** Flips, overwrites, cuts, repeats: places of four bytes that lengths and numbers are likely to lie at. */
function changed(bytes: Buffer, random: SeededRandom): Buffer {
  let result = Buffer.from(bytes);
  for (let n = random.below(6); n > 0 && result.byteLength > 8; n--) {
    const at = random.below(result.byteLength - 4);
    switch (random.below(6)) {
      case 0:
        result[at] = random.below(256);
        break;
      case 1:
        result.writeUInt32BE(random.pick([0, 1, 512, 0x7fffffff, 0x80000000, 0xffffffff]), at - (at % 4));
        break;
      case 2:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + random.between(1, 64))]);
        break;
      case 3: {
        const part = result.subarray(at, at + random.between(1, 200));
        result = Buffer.concat([result.subarray(0, at), part, result.subarray(at)]);
        break;
      }
      case 4:
        result = result.subarray(0, at + 4);
        break;
      default: {
        const other = random.pick(corpus).bytes;
        result = Buffer.concat([result.subarray(0, at), other.subarray(random.below(other.byteLength))]);
      }
    }
  }
  return result;
}

function cut(bytes: Buffer, random: SeededRandom): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    const end = at + random.between(1, random.pick([4, 40, 4000]));
    pieces.push(bytes.subarray(at, end));
    at = end;
  }
  return pieces.length > 200 ? [bytes] : pieces;
}

it.each(corpus)('$name as it is', async ({ bytes }) => {
  const made = await target(1);
  const onlooker = await made.client({ name: OWN });
  await play(made.path, [bytes], false);
  await settled(made);
  expect((await onlooker.read(0, 512)).byteLength).toBe(512);
  expect(made.device.overlaps).toEqual([]);
});

it.each(['options.hex', 'requests-simple.hex', 'requests-structured.hex'])(
  '%s, broken off behind each byte',
  async (file) => {
    const made = await target(1);
    const onlooker = await made.client({ name: OWN });
    const { bytes } = corpus.find(({ name }) => name === file)!;
    for (let end = 1; end < bytes.byteLength; end += 20) {
      const ends = Array.from({ length: Math.min(20, bytes.byteLength - end) }, (_, i) => end + i);
      await Promise.all(ends.map((at) => play(made.path, [bytes.subarray(0, at)], at % 2 === 0)));
    }
    await settled(made);
    expect((await onlooker.read(0, 512)).byteLength).toBe(512);
    expect(made.device.overlaps).toEqual([]);
  },
);

it('changed, cut and put together at random', { timeout: 60_000 + ROUNDS * 100 }, () =>
  withSeed(async (random) => {
    const made = await target(random.below(2 ** 32));
    const onlooker = await made.client({ name: OWN, structured: true });
    const data = pattern(SIZE);
    await onlooker.ask({ command: COMMANDS.NBD_CMD_WRITE, data });
    for (let round = 0; round < ROUNDS; round += 4) {
      const plays = Array.from({ length: 4 }, () => {
        const bytes = changed(random.pick(corpus).bytes, random);
        return play(made.path, cut(bytes, random), random.chance(0.3));
      });
      const at = random.below(SIZE / 4096) * 4096;
      expect((await onlooker.read(at, 4096)).equals(data.subarray(at, at + 4096))).toBe(true);
      await Promise.all(plays);
    }
    await settled(made);
    expect(made.device.overlaps).toEqual([]);
    expect(made.faults).toEqual([]);
  }),
);
