import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { link, mkdir, readFile, rename, rm, stat, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ImageFile, type ImageFileOptions } from '../../src/device/image-file.js';
import { lockHolder } from '../../src/device/image-lock.js';
import { loopDeviceOf } from '../../src/device/loop-devices.js';
import { errorOf } from '../conformance/block-device.js';
import { scratchDirectory } from '../support/devices/scratch.js';

const WRITER: ImageFileOptions = { readOnly: false };
const READER: ImageFileOptions = { readOnly: true };

async function opened(path: string, options: ImageFileOptions): Promise<ImageFile> {
  const device = await ImageFile.open(path, options);
  onTestFinished(() => device.close());
  return device;
}

async function image(size = 65_536): Promise<string> {
  const path = join(await scratchDirectory(), 'image');
  await writeFile(path, new Uint8Array(size));
  return path;
}

describe('what is opened', () => {
  it('counts whole sectors of the file, and follows a symbolic link', async () => {
    const path = await image(10_000);
    await symlink(path, `${path}.link`);
    const device = await opened(`${path}.link`, WRITER);
    expect([device.name, device.size, device.blockSize]).toEqual([`${path}.link`, 9728, 512]);
  });

  it('refuses what is no image, without opening it', async () => {
    const directory = await scratchDirectory();
    const pipe = join(directory, 'pipe');
    execFileSync('mkfifo', [pipe]);
    for (const path of [directory, pipe, '/dev/null']) {
      for (const options of [WRITER, READER]) {
        const error = await errorOf(ImageFile.open(path, options));
        expect([error.code, error.fault.operation]).toEqual(['UNSUPPORTED', 'open']);
        expect(error.message).toContain(path);
      }
    }
    expect((await errorOf(ImageFile.open(directory, READER))).message).toContain('is a directory');
  });

  it('says that there is no such file, or no permission', async () => {
    const directory = await scratchDirectory();
    const missing = await errorOf(ImageFile.open(join(directory, 'missing'), WRITER));
    expect([missing.code, missing.fault.device]).toEqual(['VOLUME_NOT_FOUND', join(directory, 'missing')]);
    expect((await errorOf(ImageFile.open('/sys/kernel/uevent_seqnum', WRITER))).code).toBe(
      'PERMISSION_DENIED',
    );
  });

  it('never opens for writing without a lock', async () => {
    await expect(ImageFile.open(await image(), { readOnly: false, lock: false })).rejects.toThrow(TypeError);
  });
});

describe('creating', () => {
  it('makes a sparse file of the full size', async () => {
    const path = join(await scratchDirectory(), 'new');
    const device = await opened(path, { readOnly: false, create: { size: 2 ** 40 } });
    expect(device.size).toBe(2 ** 40);
    const file = await stat(path);
    expect(file.size).toBe(2 ** 40);
    expect(file.blocks * 512).toBeLessThan(1024 * 1024);
  });

  it('never touches a file that exists', async () => {
    const path = await image(1024);
    await writeFile(path, 'precious');
    const error = await errorOf(ImageFile.open(path, { readOnly: false, create: { size: 4096 } }));
    expect([error.code, error.fault.device]).toEqual(['NOT_BLANK', path]);
    expect(error.fault.cause).toMatchObject({ code: 'EEXIST' });
    expect(await readFile(path, 'utf8')).toBe('precious');
  });

  it('leaves nothing behind when it fails', async () => {
    const directory = await scratchDirectory();
    const path = join(directory, 'new');
    // No filesystem has files of this size.
    const error = await errorOf(ImageFile.open(path, { readOnly: false, create: { size: 2 ** 53 - 512 } }));
    expect(['NO_SPACE', 'IO_ERROR']).toContain(error.code);
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('refuses a size that is not whole sectors, before it makes a file', async () => {
    const path = join(await scratchDirectory(), 'new');
    expect((await errorOf(ImageFile.open(path, { readOnly: false, create: { size: 1000 } }))).code).toBe(
      'OUT_OF_RANGE',
    );
    await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('locks', () => {
  it('keep a second opener out of an image that is written, in one process too', async () => {
    const path = await image();
    const first = await opened(path, WRITER);
    for (const options of [WRITER, READER]) {
      const error = await errorOf(ImageFile.open(path, options));
      expect(error.code).toBe('IN_USE');
      expect(error.message).toBe(`${path} is in use by this process`);
    }
    await first.close();
    await opened(path, WRITER);
  });

  it('let readers share, and keep a writer out', async () => {
    const path = await image();
    await opened(path, READER);
    await opened(path, READER);
    expect((await errorOf(ImageFile.open(path, WRITER))).code).toBe('IN_USE');
  });

  it('do not stop a looker', async () => {
    const path = await image();
    const writer = await opened(path, WRITER);
    const looker = await opened(path, { readOnly: true, lock: false });
    await writer.write(512, new Uint8Array(512).fill(7));
    const bytes = new Uint8Array(512);
    await looker.read(512, bytes);
    expect(bytes).toEqual(new Uint8Array(512).fill(7));
  });

  it('work through another name of the file', async () => {
    const path = await image();
    await link(path, `${path}.hard`);
    await opened(path, WRITER);
    expect((await errorOf(ImageFile.open(`${path}.hard`, WRITER))).code).toBe('IN_USE');
  });

  it('name the process that has the image, and end with it', async () => {
    const path = await image();
    const { pid, end } = await processThatLocks(path);
    const error = await errorOf(ImageFile.open(path, WRITER));
    expect(error.code).toBe('IN_USE');
    expect(error.message).toContain(`process ${pid} (`);
    expect(await lockHolder(path)).toMatchObject({
      pid,
      command: expect.stringContaining('holder-of-a-lock'),
    });
    await end();
    expect(await lockHolder(path)).toBeNull();
    await opened(path, WRITER);
  });

  it('are probed without being kept, and readers do not count', async () => {
    const path = await image();
    expect(await lockHolder(path)).toBeNull();
    const reader = await opened(path, READER);
    expect(await lockHolder(path)).toBeNull();
    await reader.close();
    const writer = await opened(path, WRITER);
    expect(await lockHolder(path)).toMatchObject({ pid: process.pid });
    await writer.close();
    expect((await errorOf(lockHolder(`${path}.missing`))).code).toBe('VOLUME_NOT_FOUND');
  });
});

/** Another process with an exclusive lock on the file, by the same library. */
async function processThatLocks(path: string): Promise<{ pid: number; end(): Promise<void> }> {
  const library = pathToFileURL(join(process.cwd(), 'node_modules/fs-native-extensions/index.js')).href;
  const script = join(await scratchDirectory(), 'holder-of-a-lock.mjs');
  await writeFile(
    script,
    `import fs from 'node:fs';
     import extensions from ${JSON.stringify(library)};
     const fd = fs.openSync(process.argv[2], 'r+');
     process.stdout.write(String(extensions.tryLock(fd, 0, 0, { shared: false })));
     setInterval(() => {}, 1000);`,
  );
  const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  onTestFinished(end);
  const [said] = (await once(child.stdout, 'data')) as [Buffer];
  expect(said.toString()).toBe('true');
  return { pid: child.pid!, end };
}

describe('loop devices', () => {
  /** A sysfs in which loop-test has this backing file, and loop-bare none. */
  async function sysfsWith(backing: string): Promise<string> {
    const sysfs = await scratchDirectory();
    await mkdir(join(sysfs, 'block/loop-test/loop'), { recursive: true });
    await mkdir(join(sysfs, 'block/loop-bare'), { recursive: true });
    await mkdir(join(sysfs, 'block/sda'), { recursive: true });
    await writeFile(join(sysfs, 'block/loop-test/loop/backing_file'), `${backing}\n`);
    return sysfs;
  }

  it('keep a writer out of the image that is attached, and let readers in', async () => {
    const path = await image();
    const sysfs = await sysfsWith(path);
    const error = await errorOf(ImageFile.open(path, { readOnly: false, sysfs }));
    expect([error.code, error.message]).toEqual(['IN_USE', `${path} is attached to /dev/loop-test`]);
    await opened(path, { readOnly: true, sysfs });
  });

  it('are found by the file, whatever its name', async () => {
    const path = await image();
    await link(path, `${path}.other`);
    const error = await errorOf(ImageFile.open(path, { ...WRITER, sysfs: await sysfsWith(`${path}.other`) }));
    expect(error.code).toBe('IN_USE');
  });

  it('do not count when the name now means another file', async () => {
    const path = await image();
    const sysfs = await sysfsWith(`${path} (deleted)`);
    await opened(path, { readOnly: false, sysfs });
  });

  it('are believed before any name', async () => {
    const path = await image();
    const file = await stat(path, { bigint: true });
    const elsewhere = await sysfsWith('/another/namespace/image (deleted)');
    const asked: string[] = [];
    const answer = async (device: string) => {
      asked.push(device);
      return file;
    };
    expect(await loopDeviceOf(path, file, elsewhere, answer)).toBe('/dev/loop-test');
    expect(asked).toEqual(['/dev/loop-test']);
    const other = async () => ({ dev: file.dev, ino: file.ino + 1n });
    expect(await loopDeviceOf(path, file, await sysfsWith(path), other)).toBeNull();
  });

  it('of which nothing can be learned do not count', async () => {
    const path = await image();
    const file = await stat(path, { bigint: true });
    const mute = async () => null;
    expect(await loopDeviceOf(path, file, await sysfsWith('/another/namespace/image'), mute)).toBeNull();
    expect(await loopDeviceOf(path, file, `${path}/no/sysfs`, mute)).toBeNull();
  });
});

describe('a file that changes beneath', () => {
  it('makes a read fail when it was cut short, and never gives part of it', async () => {
    const path = await image(8192);
    const device = await opened(path, WRITER);
    await truncate(path, 5000);
    const error = await errorOf(device.read(4096, new Uint8Array(4096)));
    expect(error.code).toBe('IO_ERROR');
    expect(error.fault).toMatchObject({ device: path, operation: 'read', offset: 4096, length: 4096 });
    expect(error.message).toContain('ends at 5000 bytes');
  });

  it('is still the same file for fua when its name has gone', async () => {
    const path = await image(8192);
    const device = await opened(path, WRITER);
    await rename(path, `${path}.moved`);
    await writeFile(path, 'somebody else');
    await device.write(0, new Uint8Array(512).fill(9), { fua: true });
    expect(await readFile(path, 'utf8')).toBe('somebody else');
    expect((await readFile(`${path}.moved`))[511]).toBe(9);
    await rm(path);
  });
});
