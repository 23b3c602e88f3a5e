/**
 * An export as a filesystem of the kernel's: nbdfuse makes a file of it, a loop device a disk of that, and it is mounted.
 * Whatever flushes there flushes the export. Wants root, FUSE and a loop device.
 *
 * When its server is gone every call below ends with an error, and what is mounted is taken off all the same.
 */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { isInstalled, ServerProcess } from '../../nbd/client/servers.js';

/** Nothing here takes long, and a kernel that waits for a file of its own must not hold the tests up. */
const LIMIT_MS = 30_000;

async function call(program: string, ...args: string[]): Promise<string> {
  return (await promisify(execFile)(program, args, { timeout: LIMIT_MS })).stdout.trim();
}

/** What is left out of the tests for want of it is printed. */
export function canMount(): boolean {
  if (process.getuid?.() !== 0 || !existsSync('/dev/fuse')) {
    console.log('left out: to mount a disk wants root, and FUSE');
    return false;
  }
  if (!isInstalled('nbdfuse') || !isInstalled('mkfs.ext4', '-V')) return false;
  try {
    execFileSync('losetup', ['--find'], { stdio: 'ignore' });
    return true;
  } catch {
    console.log('left out: there is no loop device');
    return false;
  }
}

export class MountedDisk {
  private constructor(
    private readonly fuse: ServerProcess,
    private readonly fuseFolder: string,
    readonly device: string,
    /** Where the filesystem is. */
    readonly place: string,
  ) {}

  /** `folder` is its own; `makes`: an ext4 is made there first. */
  static async mount(folder: string, uri: string, { makes }: { makes: boolean }): Promise<MountedDisk> {
    const [fuseFolder, place] = [join(folder, 'fuse'), join(folder, 'mounted')];
    for (const each of [folder, fuseFolder, place]) await mkdir(each);
    const ready = join(folder, 'ready');
    const file = join(fuseFolder, 'disk');
    const fuse = await ServerProcess.start('nbdfuse', ['--pidfile', ready, file, uri], ready);
    let device = '';
    try {
      device = await call('losetup', '--find', '--show', file);
      const atOnce = 'lazy_itable_init=0,lazy_journal_init=0';
      if (makes) await call('mkfs.ext4', '-q', '-F', '-E', atOnce, device);
      await call('mount', '-t', 'ext4', device, place);
      return new MountedDisk(fuse, fuseFolder, device, place);
    } catch (error) {
      await takeOff(device, fuseFolder, fuse);
      throw error;
    }
  }

  async unmount(): Promise<void> {
    // What was not written when the server was gone cannot be: the kernel says so and lets go.
    await call('umount', this.place).catch(() => call('umount', '--lazy', this.place));
    await takeOff(this.device, this.fuseFolder, this.fuse);
  }
}

async function takeOff(device: string, fuseFolder: string, fuse: ServerProcess): Promise<void> {
  if (device !== '') await call('losetup', '--detach', device);
  await call('umount', fuseFolder).catch(() => call('umount', '--lazy', fuseFolder));
  await fuse.kill();
}
