/** `holdfast crash record` of what is no plain image: exports of other servers, volumes, and what lies beside an image. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { NbdDevice } from '../../../src/nbd/client/nbd-device.js';
import { expectSame, readAt } from '../../conformance/block-device.js';
import { isInstalled, ServerPlace } from '../../nbd/client/servers.js';
import { told } from '../../support/crash/told-events.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { baseOf, replayed } from '../../support/lab/replayed.js';
import { ok, runHoldfast } from '../../support/run-holdfast.js';
import { contentOf, makeVolume, readAll, statusOf } from '../../support/volumes.js';

const BINARY = fileURLToPath(new URL('../../../bin/run.js', import.meta.url));
const MIB = 1024 * 1024;
const hasNbdkit = isInstalled('nbdkit');
const hasQemuNbd = isInstalled('qemu-nbd');
const hasQemuIo = isInstalled('qemu-io');

async function record(disk: string, trace: string, script: string, flags: readonly string[] = []) {
  const words = ['crash', 'record', disk, '--trace', trace, '--json', ...flags, '--', script];
  const { exitCode, stdout, stderr } = await runHoldfast(words);
  return { exitCode, stderr, json: JSON.parse(stdout) };
}

const qemuIo = (...commands: string[]): string =>
  `qemu-io -f raw -t writeback ${commands.map((command) => `-c "${command}"`).join(' ')} "$uri"`;

describe.runIf(hasQemuIo)('in front of another server', () => {
  const servers = [
    ['nbdkit', hasNbdkit],
    ['qemu-nbd', hasQemuNbd],
  ] as const;

  it.each(servers.filter(([, isThere]) => isThere))('%s: all that it is asked for', async (program) => {
    const folder = await scratchDirectory();
    const place = await ServerPlace.make();
    try {
      if (program === 'nbdkit') await place.nbdkit('memory', '4M');
      else {
        const image = join(folder, 'behind.img');
        await writeFile(image, Buffer.alloc(4 * MIB));
        await place.qemuNbd('-f', 'raw', image);
      }
      const device = await NbdDevice.open(place.uri(), { readOnly: false });
      const before = randomBytes(8192);
      await device.write(MIB + 512, before);
      await device.flush();
      const trace = join(folder, 't.trace');
      const script = qemuIo('write -P 3 1M 1k', 'flush', 'write -f -P 4 4k 8k', 'write -zu 64k 64k');
      const { exitCode, json } = await record(place.uri(), trace, `${script}; echo "over" >&3`);
      expect(exitCode).toBe(0);
      expect(json.result).toMatchObject({
        devices: [{ sizeBytes: 4 * MIB }],
        writes: 2,
        zeroes: 1,
        marks: 1,
      });
      const read = await readTrace(trace);
      expect(told(read.events).filter((line) => !line.startsWith('complete'))).toEqual([
        'submit 0: disk 0 write 1048576+1024',
        'submit 1: disk 0 flush',
        'submit 2: disk 0 write 4096+8192 fua',
        'submit 3: disk 0 write-zeroes 65536+65536',
        'submit 4: disk 0 flush',
        'mark over',
      ]);
      const base = Buffer.alloc(4 * MIB);
      base.set(before, MIB + 512);
      expectSame(baseOf(read, 0), base);
      expectSame(await readAt(device, 0, 4 * MIB), replayed(read, 0));
      read.close();
      await device.close();
    } finally {
      await place.remove();
    }
  });

  it('that is not there, or with a size: an error, and no trace', async () => {
    const folder = await scratchDirectory();
    const uri = `nbd+unix:///?socket=${join(folder, 'nobody')}`;
    const trace = join(folder, 't.trace');
    expect((await record(uri, trace, 'true')).json.error.code).toBe('VOLUME_NOT_FOUND');
    expect((await record(uri, trace, 'true', ['--size', '1MiB'])).json.error.code).toBe('USAGE');
    await expect(readFile(trace)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe.runIf(hasQemuIo)('of a volume', () => {
  it.each([
    ['RAID-5', []],
    ['RAID-5 with its record in a file', ['--record', 'record.img']],
  ])('%s, each image is a device, and its closing is in the trace', async (_what, flags) => {
    const folder = await scratchDirectory();
    const named = flags.map((word) => (word.startsWith('--') ? word : join(folder, word)));
    const before = randomBytes(2 * MIB);
    const shape = ['--members', '3', '--size', '2MiB', '--chunk', '4KiB', ...named];
    const { directory, images } = await makeVolume(join(folder, 'volume'), before, shape);
    const all = [...images, ...named.filter((word) => !word.startsWith('--'))];
    const held = new Map(await Promise.all(all.map(async (path) => [path, await readFile(path)] as const)));
    const trace = join(folder, 't.trace');
    const script = qemuIo('write -P 5 10k 100k', 'flush', 'write -P 6 1M 512');
    const { exitCode, json } = await record(directory, trace, `${script}; echo end >&3`);
    expect(exitCode).toBe(0);
    const read = await readTrace(trace);
    expect(read.damage).toBeNull();
    const names = read.devices.map(({ name }) => name);
    expect(names.toSorted()).toEqual(all.toSorted());
    expect(json.result.devices.map(({ name }: { name: string }) => name)).toEqual(names);
    for (const [index, name] of names.entries()) {
      expectSame(baseOf(read, index), held.get(name)!, `${name} before`);
      expectSame(replayed(read, index), await readFile(name), `${name} after`);
    }
    const lines = told(read.events);
    // Superblocks that say clean come behind the end of the command.
    const behind = lines.slice(lines.indexOf('mark end'));
    for (const index of images.keys()) {
      expect(behind.some((line) => line.includes(`disk ${index} write`))).toBe(true);
    }
    read.close();
    expect((await statusOf(directory)).state).toBe('clean');
    before.fill(5, 10 * 1024, 110 * 1024).fill(6, MIB, MIB + 512);
    expectSame(await readAll(directory), before);
  });

  it('an image that joins it meanwhile is a device too, and so is the manifest, which then lists it', async () => {
    const folder = await scratchDirectory();
    const { directory, images } = await makeVolume(join(folder, 'volume'), randomBytes(MIB));
    const [trace, joining] = [join(folder, 't.trace'), join(folder, 'new.img')];
    const holdfast = `"${process.execPath}" "${BINARY}"`;
    const script = [
      `${holdfast} member fail "${directory}" --slot 1 --yes`,
      `${holdfast} member replace "${directory}" --slot 1 --image "${joining}"`,
    ].join(' && ');
    const { exitCode, stderr } = await record(directory, trace, script);
    expect(exitCode, stderr).toBe(0);
    const read = await readTrace(trace);
    const names = read.devices.map(({ name }) => name);
    const manifest = join(directory, 'holdfast.json');
    expect(names).toEqual([...images, joining, manifest]);
    for (const [index, name] of names.slice(0, -1).entries())
      expectSame(replayed(read, index), await readFile(name), name);
    const { versions } = read.devices.at(-1)!;
    const isListed = versions!.map((version) => Buffer.from(version!).toString().includes(joining));
    expect([isListed[0], isListed.at(-1)]).toEqual([false, true]);
    expectSame(versions!.at(-1)!, await readFile(manifest));
    read.close();
  });

  it('an image with a snapshot is one: what the snapshot keeps is recorded too', async () => {
    const folder = await scratchDirectory();
    const image = join(folder, 'disk.img');
    const before = randomBytes(MIB);
    await writeFile(image, before);
    await ok('snapshot', 'create', image, '--name', 'then');
    const trace = join(folder, 't.trace');
    const { exitCode } = await record(image, trace, qemuIo('write -P 5 64k 64k', 'flush'));
    expect(exitCode).toBe(0);
    const read = await readTrace(trace);
    const names = read.devices.map(({ name }) => name);
    expect(names).toContain(image);
    expect(names.length).toBeGreaterThan(1);
    read.close();
    const { stdoutBytes } = await runHoldfast(['read', image, '--snapshot', 'then', '--output', '-']);
    expectSame(stdoutBytes, before);
  });

  it('one image of it that is named by itself passes by nothing that is kept of it', async () => {
    const folder = await scratchDirectory();
    const { directory, images } = await makeVolume(join(folder, 'volume'), randomBytes(MIB));
    await ok('snapshot', 'create', directory, '--name', 'then');
    const { json } = await record(images[0]!, join(folder, 't.trace'), 'true');
    expect(json.error.code).toBe('REFUSED');
  });

  it('that is none, or is a size: an error, no trace, and nothing is changed', async () => {
    const folder = await scratchDirectory();
    const { directory } = await makeVolume(join(folder, 'volume'), randomBytes(MIB));
    const before = await contentOf(directory);
    const trace = join(folder, 't.trace');
    expect((await record(folder, trace, 'true')).exitCode).not.toBe(0);
    expect((await record(directory, trace, 'true', ['--size', '1MiB'])).json.error.code).toBe('USAGE');
    expect(await contentOf(directory)).toEqual(before);
    await expect(readFile(trace)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
