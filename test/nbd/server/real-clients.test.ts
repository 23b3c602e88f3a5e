/** The tools that people use, on a server in this process: libnbd's, qemu's, nbdkit and fio, where they are installed. */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { openImage } from '../../../src/device/open-image.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { type Served, served } from '../../support/nbd/served.js';
import { fioSpeaksNbd, isInstalled } from '../client/servers.js';

const MIB = 1024 * 1024;
const SIZE = 64 * MIB;
const hasNbdinfo = isInstalled('nbdinfo');
const hasNbdcopy = isInstalled('nbdcopy');
const hasQemuImg = isInstalled('qemu-img');
const hasQemuIo = isInstalled('qemu-io');
const hasNbdkit = isInstalled('nbdkit');
const hasFio = isInstalled('fio') && fioSpeaksNbd();

async function run(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 64 * MIB });
  return stdout;
}

/** A sparse image with some data in it. */
async function sparseImage(): Promise<string> {
  const path = join(await scratchDirectory(), 'disk.img');
  const file = await open(path, 'wx');
  await file.truncate(SIZE);
  await file.write(randomBytes(3 * MIB + 4096), 0, undefined, 5 * MIB);
  await file.write(randomBytes(MIB), 0, undefined, 40 * MIB);
  await file.close();
  return path;
}

async function servedImage(): Promise<Served & { image: string }> {
  const image = await sparseImage();
  const device = await openImage(image, { readOnly: false });
  onTestFinished(() => device.close());
  const made = await served([{ name: 'disk', description: 'a sparse image', device }]);
  return { ...made, image };
}

/** An export in memory that notes when calls overlap. */
async function servedMemory(): Promise<Served & { device: FaultyDevice }> {
  const device = new FaultyDevice(new MemoryDevice(SIZE));
  return { device, ...(await served([{ name: 'disk', device, zeroesFast: true }])) };
}

async function hash(path: string): Promise<string> {
  const sum = createHash('sha256');
  for await (const chunk of createReadStream(path)) sum.update(chunk as Buffer);
  return sum.digest('hex');
}

it.runIf(hasNbdinfo)('nbdinfo --json, --list, --map', async () => {
  const { uri } = await servedImage();
  const info = JSON.parse(await run('nbdinfo', '--json', uri('disk')));
  expect(info).toMatchObject({
    protocol: 'newstyle-fixed',
    structured: true,
    exports: [
      {
        'export-name': 'disk',
        description: 'a sparse image',
        'export-size': SIZE,
        contexts: ['base:allocation'],
      },
    ],
  });
  expect(info.exports[0]).toMatchObject({
    can_multi_conn: true,
    can_df: true,
    can_fua: true,
    can_zero: true,
  });
  expect(JSON.parse(await run('nbdinfo', '--list', '--json', uri())).exports).toHaveLength(1);
  const map = JSON.parse(await run('nbdinfo', '--map', '--json', uri('disk'))) as Record<
    string,
    number | string
  >[];
  const data = map.filter(({ type }) => type === 0).map(({ offset, length }) => [offset, length]);
  expect(data).toEqual([
    [5 * MIB, 3 * MIB + 4096],
    [40 * MIB, MIB],
  ]);
});

it.runIf(hasNbdcopy)('nbdcopy out and in again, over several connections', async () => {
  const { uri, image, server } = await servedImage();
  const other = await servedMemory();
  const out = join(await scratchDirectory(), 'out.img');
  await run('nbdcopy', '--connections=4', uri('disk'), out);
  expect(await hash(out)).toBe(await hash(image));
  await run('nbdcopy', '--connections=4', '--flush', out, other.uri('disk'));
  const back = join(await scratchDirectory(), 'back.img');
  await run('nbdcopy', '--request-size=33554432', other.uri('disk'), back);
  expect(await hash(back)).toBe(await hash(image));
  expect(other.device.overlaps).toEqual([]);
  expect(server.status().exports[0]!.connectionsEver).toBeGreaterThan(1);
});

it.runIf(hasQemuImg)('qemu-img convert, compare, map', async () => {
  const { uri } = await servedImage();
  const target = await servedMemory();
  await run('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', uri('disk'), target.uri('disk'));
  const compare = (left: string, right: string) =>
    run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', left, right);
  expect(await compare(uri('disk'), target.uri('disk'))).toContain('identical');
  const map = JSON.parse(await run('qemu-img', 'map', '-f', 'raw', '--output=json', uri('disk')));
  const data = (map as { start: number; length: number; data: boolean }[]).filter((extent) => extent.data);
  expect(data.map(({ start, length }) => [start, length])).toEqual([
    [5 * MIB, 3 * MIB + 4096],
    [40 * MIB, MIB],
  ]);
  expect(target.device.overlaps).toEqual([]);
});

it.runIf(hasQemuIo)('qemu-io writes patterns, zeroes, discards, and finds them', async () => {
  const { uri } = await servedMemory();
  const commands = [
    'write -P 0xaa 0 1M',
    'write -P 0xbb -f 1M 64k',
    'write -P 0xcc 1000 3000',
    'write -z 2M 1M',
    'write -z -u 4M 1M',
    'discard 1M 64k',
    'aio_write -P 0x11 8M 2M',
    'aio_write -P 0x22 12M 2M',
    'aio_flush',
    'flush',
    'read -P 0xaa 0 1000',
    'read -P 0xcc 1000 3000',
    'read -P 0xaa 4000 64k',
    'read -P 0 2M 1M',
    'read -P 0 4M 1M',
    'read -P 0x11 8M 2M',
    'read -P 0x22 12M 2M',
  ];
  const output = await run(
    'qemu-io',
    '-f',
    'raw',
    ...commands.flatMap((command) => ['-c', command]),
    uri('disk'),
  );
  expect(output).not.toContain('failed');
});

it.runIf(hasNbdkit && hasNbdcopy)('nbdkit serves what it has from us', async () => {
  const { uri, image } = await servedImage();
  const out = join(await scratchDirectory(), 'out.img');
  await run('nbdkit', '-U', '-', 'nbd', `uri=${uri('disk')}`, '--run', `nbdcopy "$uri" ${out}`);
  expect(await hash(out)).toBe(await hash(image));
});

it.runIf(hasFio)('fio verifies what many jobs wrote', async () => {
  const { uri, device } = await servedMemory();
  const folder = await scratchDirectory();
  const report = join(folder, 'report.json');
  await promisify(execFile)(
    'fio',
    [
      '--ioengine=nbd',
      `--uri=${uri('disk')}`,
      '--name=verify',
      '--rw=randwrite',
      '--bsrange=4k-256k',
      '--iodepth=32',
      '--numjobs=4',
      '--size=16m',
      '--offset_increment=16m',
      '--verify=crc32c',
      '--verify_fatal=1',
      '--fsync=64',
      '--output-format=json',
      `--output=${report}`,
    ],
    { cwd: folder },
  );
  const { jobs } = JSON.parse(await readFile(report, 'utf8')) as { jobs: { error: number }[] };
  expect(jobs.map(({ error }) => error)).toEqual([0, 0, 0, 0]);
  expect(device.overlaps).toEqual([]);
});
