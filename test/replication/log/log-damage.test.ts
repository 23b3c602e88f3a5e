/** What of a log is found when something of it has rotted, tore, or belongs to another one. */

import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { LOG_HEADER } from '../../../src/replication/log/fields.js';
import { logFileBytes, TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';
import {
  ANOTHER,
  activeBlocks,
  begun,
  block,
  logStage,
  offsetOfSector,
  rot,
  VOLUME,
  whole,
} from './log-stage.js';

/** Four transactions, each in a log write of its own; the first is done. */
async function four() {
  const own = await logStage();
  const first = await begun(own.log, 1);
  await begun(own.log, 2);
  own.log.done(first);
  await begun(own.log, 3);
  await begun(own.log, 4);
  return own;
}

async function changeHeader(
  memory: MemoryDevice,
  change: (header: ReturnType<typeof LOG_HEADER.at>) => void,
) {
  for (const offset of [0, 4096]) {
    const bytes = new Uint8Array(512);
    await memory.read(offset, bytes);
    change(LOG_HEADER.at(bytes));
    LOG_HEADER.at(bytes).setNumber('checksum', crc32c(bytes.subarray(0, 508)));
    await memory.write(offset, bytes);
  }
}

describe('a sector', () => {
  it('that was durable and has rotted is damage, and its file, offset and number are named', async () => {
    const { memory, open } = await four();
    await rot(memory, offsetOfSector(2) + 45);
    const { log, active, damage } = await open();
    expect(log).toBe(null);
    expect(damage).toBe(
      'volume.log: sector 2 of the transaction log at offset 8704 is lost: its checksum is wrong',
    );
    // Those that are still to be had are told all the same.
    expect(active.map(({ transaction }) => transaction)).toEqual([3, 4]);
  });

  it('that cannot be read is damage', async () => {
    const { device, open } = await four();
    device.addRule({ operations: ['read'], range: { offset: offsetOfSector(3), length: 512 } });
    expect((await open()).damage).toMatch(/sector 3 .* at offset 9216 is lost: it cannot be read: /);
  });

  it('that was lost under way, so that an older one is in its place, is damage', async () => {
    const { memory, log, open } = await logStage(8);
    const old = new Uint8Array(512);
    await begun(log, 0);
    let last = await begun(log, 1);
    log.done(1);
    await memory.read(offsetOfSector(2, 8), old);
    for (let from = 2; from < 10; from++) {
      log.done(last);
      last = await begun(log, from);
    }
    await begun(log, 10);
    expect(activeBlocks(await open())).toEqual(new Set([9, 10]));
    await memory.write(offsetOfSector(10, 8), old);
    expect((await open()).damage).toMatch(/sector 10 .*is lost: an older one is in its place/);
  });

  it('that is below the start of the log is of no more use (paragraph 52)', async () => {
    const { memory, open } = await four();
    await rot(memory, offsetOfSector(1) + 45);
    expect(activeBlocks(await open())).toEqual(new Set([2, 3, 4]));
  });

  it('of the last log write alone is what a cut leaves: it was not acknowledged', async () => {
    const { memory, log, open } = await four();
    await log.begin(block(100_000, 16384 * 59 * 3));
    await rot(memory, offsetOfSector(6) + 45);
    const opened = await open();
    expect(opened.damage).toBe(null);
    expect(opened.active.map(({ transaction }) => transaction)).toEqual([2, 3, 4, 5, 7]);
  });

  it('that tore is filled before the log goes on, and so is missed by nobody', async () => {
    const { memory, log, open } = await four();
    await log.begin(block(100_000, 16384 * 59 * 3));
    await rot(memory, offsetOfSector(6) + 45);
    const next = whole(await open());
    expect(await next.begin(block(7))).toEqual([8]);
    expect(next.counts).toEqual({ logWrites: 1, writes: 2, sectors: 2, bytes: 1024, flushes: 2 });
    const opened = await open();
    expect(opened.damage).toBe(null);
    expect(opened.active.map(({ transaction }) => transaction)).toEqual([2, 3, 4, 5, 7, 8]);
  });
});

describe('what an opening found in the page cache alone', () => {
  /** The process was killed with a log write that was not durable; the next one wrote; then the power went. */
  async function killedThenCut(keepsFlush: () => boolean) {
    let keepsFua = true;
    const device = new VolatileDevice(logFileBytes(24), {
      keepsBarrier: (kind) => (kind === 'fua' ? keepsFua : keepsFlush()),
    });
    const log = await TransactionLog.format(device, VOLUME);
    const first = await begun(log, 1);
    keepsFua = false;
    await begun(log, 2);
    keepsFua = true;
    const again = whole(await TransactionLog.open(device, VOLUME));
    await begun(again, 3);
    expect(first).toBe(1);
    return TransactionLog.open(device.cutPower(1, 'none'), VOLUME);
  }

  it('is flushed before the log goes on', async () => {
    expect(activeBlocks(await killedThenCut(() => true))).toEqual(new Set([1, 2, 3]));
    let flushes = 0;
    // The first one is of the making; without the second the loss of what nobody was promised looks like damage.
    const opened = await killedThenCut(() => {
      flushes += 1;
      return flushes === 1;
    });
    expect(opened.damage).toMatch(/sector 2 of the transaction log .*is lost/);
  });
});

describe('a header', () => {
  it('that is bad in one copy is read from the other, and mended with the next write', async () => {
    for (const offset of [0, 4096]) {
      const { memory, open } = await four();
      await rot(memory, offset + 60);
      const opened = await open();
      expect(opened.warnings).toEqual([
        `volume.log: the header of the transaction log is damaged in the copy at offset ${offset}: its checksum is wrong; the other copy is used`,
      ]);
      expect((await open()).warnings.length).toBe(1);
      await begun(whole(opened), 9);
      expect((await open()).warnings).toEqual([]);
    }
  });

  it('that is bad in both copies is damage', async () => {
    const { memory, open } = await four();
    await rot(memory, 60);
    await rot(memory, 4096);
    const { log, damage } = await open();
    expect(log).toBe(null);
    expect(damage).toBe(
      'volume.log: the header of the transaction log is damaged in both copies (at offset 0: its checksum is wrong; at offset 4096: there is none)',
    );
  });

  it('that is of two logs was being made anew when the power went: damage', async () => {
    const { memory, open } = await four();
    const old = new Uint8Array(512);
    await memory.read(0, old);
    await TransactionLog.format(memory, VOLUME);
    expect((await open()).active).toEqual([]);
    await memory.write(4096, old);
    expect((await open()).damage).toMatch(/says one thing at offset 0 and another at offset 4096/);
  });

  it('of another volume, or of a later holdfast, is refused', async () => {
    const { device, memory, open } = await four();
    await expect(TransactionLog.open(device, ANOTHER)).rejects.toMatchObject({
      code: 'REFUSED',
      message: 'volume.log: the transaction log belongs to another volume',
    });
    for (const field of ['incompat', 'ro_compat', 'version'] as const) {
      await changeHeader(memory, (header) => header.setNumber(field, 2));
      await expect(open()).rejects.toMatchObject({
        code: 'UNSUPPORTED',
        message: expect.stringMatching(new RegExp(`later holdfast: ${field} `)),
      });
      await changeHeader(memory, (header) => header.setNumber(field, field === 'version' ? 1 : 0));
    }
    await changeHeader(memory, (header) => header.setNumber('compat', 2));
    expect(activeBlocks(await open())).toEqual(new Set([2, 3, 4]));
  });

  it('of a file that was cut short is damage', async () => {
    const { memory } = await four();
    const bytes = new Uint8Array(memory.size - 512);
    await memory.read(0, bytes);
    for (const size of [bytes.byteLength, 4096, 512]) {
      const short = new MemoryDevice(size, { name: 'short.log' });
      await short.write(0, bytes.subarray(0, size));
      expect((await TransactionLog.open(short, VOLUME)).damage).toMatch(/short.log: .* is cut short/);
    }
  });

  it('that is new makes sectors of the former log void', async () => {
    const { memory, open } = await four();
    const old = new Uint8Array(8 * 512);
    await memory.read(offsetOfSector(1), old);
    const anew = await TransactionLog.format(memory, VOLUME);
    await memory.write(offsetOfSector(1), old);
    expect((await open()).active).toEqual([]);
    await begun(anew, 77);
    expect(activeBlocks(await open())).toEqual(new Set([77]));
  });
});
