/** Partial parity logs: the kernel's own after a power cut, and logs of our making, whole and damaged. */
import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { Geometry } from '../../../src/raid/geometry.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import { PPL_ENTRY, PPL_HEADER } from '../../../src/raid/md/fields-logs.js';
import { judge } from '../../../src/raid/md/judge.js';
import type { JudgedMember, Superblock } from '../../../src/raid/md/model.js';
import { emptyPpl, emptyPplHeader, pplSignature, readPpl } from '../../../src/raid/md/ppl.js';
import { applyPplPlan, type PplMember, planPplReplay } from '../../../src/raid/md/ppl-replay.js';
import { setUuidBytes } from '../../../src/raid/md/uuid.js';
import { loadMetadata } from '../../support/md-fixtures.js';

const ROW = 4096;

async function membersOf(slots: readonly JudgedMember[]): Promise<PplMember[]> {
  const present = slots.flatMap(({ slot, device, superblock }) =>
    slot === null || device === null || superblock === null ? [] : [{ slot, device, superblock }],
  );
  return Promise.all(
    present.map(async ({ slot, device, superblock }) => ({
      slot,
      device,
      dataOffset: superblock.dataOffset,
      rebuiltUpTo: superblock.recoveryOffset,
      log: await readPpl(device, superblock),
    })),
  );
}

async function rowIsRight(members: readonly PplMember[], offset: number): Promise<boolean> {
  const sum = new Uint8Array(ROW);
  const piece = new Uint8Array(ROW);
  for (const member of members) {
    await member.device.read(member.dataOffset + offset, piece);
    for (let at = 0; at < ROW; at++) sum[at]! ^= piece[at]!;
  }
  return sum.every((byte) => byte === 0);
}

describe("the kernel's logs after a power cut", () => {
  it('make every row that they name right, and the array clean', async () => {
    const fixture = await loadMetadata('ppl-dirty');
    const judgement = judge(await Promise.all(fixture.devices.map((device) => examineImage(device))));
    const geometry = new Geometry(judgement.set!);
    const members = await membersOf(judgement.slots);
    const plan = planPplReplay(members, geometry, judgement.set!.resyncOffset);
    expect(plan).toMatchObject({ recoveredEntries: 10, mismatches: 0, inDoubt: [], clean: true });
    expect(fixture.badRows.length).toBeGreaterThan(0);
    for (const row of fixture.badRows) {
      expect(await rowIsRight(members, row * ROW)).toBe(false);
      expect(
        plan.steps.some((step) => step.offset <= row * ROW && row * ROW < step.offset + step.length),
      ).toBe(true);
    }
    for (const times of [1, 2]) {
      await applyPplPlan(plan, members);
      for (const step of plan.steps)
        expect(await rowIsRight(members, step.offset), `pass ${times}`).toBe(true);
    }
  });

  it('do not touch parity whose chunk is missing, and say what is in doubt', async () => {
    const fixture = await loadMetadata('ppl-dirty');
    const judgement = judge(await Promise.all(fixture.devices.map((device) => examineImage(device))));
    const geometry = new Geometry(judgement.set!);
    const all = planPplReplay(await membersOf(judgement.slots), geometry, 0);
    const lost = all.steps[0]!.dataSlots[0]!;
    const members = (await membersOf(judgement.slots)).filter((member) => member.slot !== lost);
    const plan = planPplReplay(members, geometry, 0);
    expect(plan.inDoubt.length).toBeGreaterThan(0);
    expect(plan.inDoubt.every((each) => each.slot === lost)).toBe(true);
    expect(plan.steps.every((step) => !step.dataSlots.includes(lost) && step.paritySlot !== lost)).toBe(true);
  });

  it('say nothing once they are emptied', async () => {
    const fixture = await loadMetadata('ppl-dirty');
    for (const device of fixture.devices) {
      const superblock = (await examineImage(device)).superblocks[0]!;
      await emptyPpl(device, superblock);
      expect(await readPpl(device, superblock)).toMatchObject({ generation: 0n, entries: [], unusable: 0 });
    }
  });
});

const SET_UUID = '00000000:00000000:00000000:0000000a';
const LOG_AT = 8192;
const LOG_BYTES = 1024 * 1024;
const DATA_AT = 2 * 1024 * 1024;
const CHUNK = 65536;
const STRIPES = 4;

/** As much of a superblock as a log needs. */
const LIKE = {
  setUuid: SET_UUID,
  version: '1.2',
  ppl: { offset: LOG_AT, lengthBytes: LOG_BYTES },
} as unknown as Superblock;

interface TestEntry {
  dataSector: number;
  dataSize: number;
  ppSize: number;
  parityDisk: number;
}

async function writeLog(
  device: MemoryDevice,
  at: number,
  generation: bigint,
  entries: readonly TestEntry[],
  partial: Uint8Array,
): Promise<number> {
  const header = emptyPplHeader(setUuidBytes(LIKE));
  const view = PPL_HEADER.at(header);
  view.setNumber('checksum', 0);
  view.setBig('generation', generation);
  view.setNumber('entries_count', entries.length);
  let parityAt = 0;
  entries.forEach((entry, index) => {
    const each = PPL_ENTRY.at(header, PPL_HEADER.offsetOf('entries') + index * PPL_ENTRY.sizeBytes);
    each.setBig('data_sector', BigInt(entry.dataSector));
    each.setNumber('data_size', entry.dataSize);
    each.setNumber('pp_size', entry.ppSize);
    each.setNumber('parity_disk', entry.parityDisk);
    each.setNumber('checksum', crc32c(partial.subarray(parityAt, parityAt + entry.ppSize)));
    parityAt += entry.ppSize;
  });
  view.setNumber('checksum', crc32c(header));
  await device.write(LOG_AT + at, header);
  if (parityAt > 0) await device.write(LOG_AT + at + ROW, partial);
  return at + ROW + parityAt;
}

async function makeArray(): Promise<{ geometry: Geometry; devices: MemoryDevice[] }> {
  const geometry = new Geometry({
    layout: 2,
    chunkBytes: CHUNK,
    raidDisks: 4,
    memberSizeBytes: CHUNK * STRIPES,
  });
  const devices = [0, 1, 2, 3].map(
    (slot) => new MemoryDevice(DATA_AT + CHUNK * STRIPES, { name: `m${slot}` }),
  );
  for (const [slot, device] of devices.entries()) {
    const content = new Uint8Array(CHUNK * STRIPES).map((_, at) => (at * (slot + 3) + (at >> 9) * 7) & 0xff);
    await device.write(DATA_AT, content);
    await emptyPpl(device, LIKE);
  }
  return { geometry, devices };
}

async function asMembers(devices: readonly MemoryDevice[]): Promise<PplMember[]> {
  const logs = await Promise.all(devices.map((device) => readPpl(device, LIKE)));
  return devices.map((device, slot) => ({
    slot,
    device,
    dataOffset: DATA_AT,
    rebuiltUpTo: null,
    log: logs[slot]!,
  }));
}

describe('a log of our making', () => {
  it('replays a write of two chunks: parity is what was written and the partial parity', async () => {
    const { geometry, devices } = await makeArray();
    // Stripe 0 of left-symmetric: parity in slot 3, data in 0, 1, 2. Rows 1 and 2 of chunks 0 and 1 were written.
    const partial = new Uint8Array(2 * ROW).fill(0x5a);
    await writeLog(
      devices[3]!,
      0,
      7n,
      [{ dataSector: 8, dataSize: 4 * ROW, ppSize: 2 * ROW, parityDisk: 3 }],
      partial,
    );
    const members = await asMembers(devices);
    const plan = planPplReplay(members, geometry, 0);
    expect(plan.steps).toEqual([
      { offset: ROW, length: 2 * ROW, paritySlot: 3, dataSlots: [0, 1], partialAt: LOG_AT + ROW },
    ]);
    expect(plan.clean).toBe(true);
    await applyPplPlan(plan, members);
    const [a, b, parity] = [new Uint8Array(ROW), new Uint8Array(ROW), new Uint8Array(ROW)];
    await devices[0]!.read(DATA_AT + 2 * ROW, a!);
    await devices[1]!.read(DATA_AT + 2 * ROW, b!);
    await devices[3]!.read(DATA_AT + 2 * ROW, parity!);
    expect(parity).toEqual(a!.map((byte, at) => byte ^ b![at]! ^ 0x5a));
  });

  it('replays a write of whole stripes from the data alone', async () => {
    const { geometry, devices } = await makeArray();
    await writeLog(
      devices[3]!,
      0,
      1n,
      [{ dataSector: 0, dataSize: 3 * CHUNK, ppSize: 0, parityDisk: 3 }],
      new Uint8Array(0),
    );
    const members = await asMembers(devices);
    const plan = planPplReplay(members, geometry, 0);
    expect(plan.steps).toEqual([
      { offset: 0, length: CHUNK, paritySlot: 3, dataSlots: [0, 1, 2], partialAt: null },
    ]);
    await applyPplPlan(plan, members);
    for (let at = 0; at < CHUNK; at += ROW) expect(await rowIsRight(members, at)).toBe(true);
  });

  it('takes the newest header of the chain, and no older one behind it', async () => {
    const { devices } = await makeArray();
    const device = devices[0]!;
    const entry = { dataSector: 8, dataSize: ROW, ppSize: ROW, parityDisk: 0 };
    const second = await writeLog(device, 0, 5n, [entry], new Uint8Array(ROW));
    const third = await writeLog(device, second, 6n, [entry, entry], new Uint8Array(2 * ROW));
    await writeLog(device, third, 4n, [entry, entry, entry], new Uint8Array(3 * ROW));
    expect(await readPpl(device, LIKE)).toMatchObject({ generation: 6n, entries: [{}, {}] });
  });

  it('leaves out an entry that was torn, and the array is not clean', async () => {
    const { geometry, devices } = await makeArray();
    const entries = [
      { dataSector: 8, dataSize: ROW, ppSize: ROW, parityDisk: 3 },
      { dataSector: 16, dataSize: ROW, ppSize: ROW, parityDisk: 3 },
    ];
    await writeLog(devices[3]!, 0, 1n, entries, new Uint8Array(2 * ROW));
    await devices[3]!.write(LOG_AT + 2 * ROW, new Uint8Array(512).fill(1));
    const plan = planPplReplay(await asMembers(devices), geometry, 0);
    expect(plan).toMatchObject({ recoveredEntries: 1, mismatches: 1, clean: false });
    expect(plan.reasons[0]).toContain('checksum');
  });

  it('is not clean with nothing replayed, with a log that has no header, or after an interrupted resync', async () => {
    const { geometry, devices } = await makeArray();
    expect(planPplReplay(await asMembers(devices), geometry, 0).clean).toBe(false);
    await writeLog(
      devices[3]!,
      0,
      1n,
      [{ dataSector: 8, dataSize: ROW, ppSize: ROW, parityDisk: 3 }],
      new Uint8Array(ROW),
    );
    expect(planPplReplay(await asMembers(devices), geometry, 0).clean).toBe(true);
    expect(planPplReplay(await asMembers(devices), geometry, CHUNK).clean).toBe(false);
    await devices[1]!.writeZeroes(LOG_AT, ROW);
    const plan = planPplReplay(await asMembers(devices), geometry, 0);
    expect(plan).toMatchObject({ mismatches: 1, clean: false });
  });

  it.each([
    ['a parity of another slot', { dataSector: 8, dataSize: ROW, ppSize: ROW, parityDisk: 2 }],
    ['a place behind the array', { dataSector: 1e9, dataSize: ROW, ppSize: ROW, parityDisk: 3 }],
    ['more data than a stripe has', { dataSector: 8, dataSize: 64 * ROW, ppSize: ROW, parityDisk: 3 }],
    [
      'a strip that reaches into the next stripe',
      { dataSector: 2 * 128, dataSize: 2 * ROW, ppSize: ROW, parityDisk: 3 },
    ],
    ['sizes that are no sectors', { dataSector: 8, dataSize: 100, ppSize: 100, parityDisk: 3 }],
    [
      'more partial parity than the log has',
      { dataSector: 8, dataSize: ROW, ppSize: 0x7fff_fe00, parityDisk: 3 },
    ],
  ])('is not used with %s', async (_, entry) => {
    const { geometry, devices } = await makeArray();
    await writeLog(devices[3]!, 0, 1n, [entry], new Uint8Array(ROW));
    const plan = planPplReplay(await asMembers(devices), geometry, 0);
    expect(plan).toMatchObject({ steps: [], recoveredEntries: 0, mismatches: 1, clean: false });
  });

  it('of another array does not count', async () => {
    const { devices } = await makeArray();
    const log = await readPpl(devices[0]!, { ...LIKE, setUuid: '00000000:00000000:00000000:0000000b' });
    expect(log).toMatchObject({ reason: expect.stringContaining('another array') });
  });

  it('has the signature of the kernel: CRC-32C of the UUID', () => {
    // RFC 3720 B.4 gives the CRC-32C of 32 zero bytes; the same code makes both.
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    expect(pplSignature(new Uint8Array(16))).toBe(crc32c(new Uint8Array(16)));
  });
});
