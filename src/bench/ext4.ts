/**
 * ext4 on a loop device, which counts what reaches it: the peer of a journal of data. With data=journal all that is
 * written goes to the journal and from there to its place; with data=ordered it goes to its place alone, and a crash may
 * leave any part of it. Wants root; whoever has no loop device is told why.
 *
 * What is counted lies between two times at which the filesystem is not mounted: unmounting writes all that the journal
 * holds to its place. So what ext4 writes about itself is in it (inodes, its journal's commits, superblocks).
 *
 * Sources: Documentation/block/stat.rst of Linux (fields of /sys/block/<device>/stat: sectors of 512 bytes), ext4(5).
 */
import { execFile } from 'node:child_process';
import { mkdir, open, readFile, truncate, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';
import type { Contender } from './bench.js';
import { MIB, varied } from './bench-array.js';
import type { Opened } from './prepare.js';
import { inOrder, perform, totalBytes, type Workload } from './workload.js';

const execute = promisify(execFile);
const SECTOR_BYTES = 512;
const MODES = ['journal', 'ordered'] as const;
type Mode = (typeof MODES)[number];

export interface Ext4 {
  readonly contenders: readonly Contender[];
  /** Why there are none, or what there is. */
  readonly note: string;
}

/** One contender for each mode, which writes its file in place. What is attached is detached by `opened`. */
export async function ext4Contenders(directory: string, workload: Workload, opened: Opened): Promise<Ext4> {
  try {
    const contenders: Contender[] = [];
    for (const mode of MODES) {
      const filesystem = await Filesystem.make(directory, mode, totalBytes(workload), opened);
      contenders.push({ name: `ext4, data=${mode}`, run: () => filesystem.run(workload) });
    }
    return {
      contenders,
      note: `ext4: ${await version()} on a loop device, counted there from before mounting to after unmounting, with its own metadata.`,
    };
  } catch (error) {
    return { contenders: [], note: `ext4: none here: ${wordsOf(error)}` };
  }
}

class Filesystem {
  private constructor(
    private readonly device: string,
    private readonly place: string,
    private readonly mode: Mode,
  ) {}

  /** Room for twice the file, beside a journal that takes a commit as a whole. */
  static async make(directory: string, mode: Mode, fileBytes: number, opened: Opened): Promise<Filesystem> {
    const image = join(directory, `ext4-${mode}.img`);
    const place = join(directory, `ext4-${mode}`);
    await mkdir(place);
    await writeFile(image, '', { flag: 'wx' });
    await truncate(image, 2 * fileBytes + 128 * MIB);
    const device = (await call('losetup', ['--find', '--show', image])).trim();
    opened(() => call('losetup', ['--detach', device]));
    // Nothing of it is left to be made while it is mounted.
    const atOnce = 'lazy_itable_init=0,lazy_journal_init=0';
    await call('mkfs.ext4', ['-q', '-J', 'size=64', '-E', atOnce, device]);
    const filesystem = new Filesystem(device, place, mode);
    const offsets = inOrder(Math.ceil(fileBytes / MIB), MIB);
    await filesystem.mounted('wx', { title: 'fill', requestBytes: MIB, depth: 1, offsets });
    return filesystem;
  }

  async run(workload: Workload) {
    const before = await this.#sectors();
    const start = performance.now();
    await this.mounted('r+', workload);
    const seconds = (performance.now() - start) / 1000;
    const after = await this.#sectors();
    const counts = {
      written: (after.written - before.written) * SECTOR_BYTES,
      read: (after.read - before.read) * SECTOR_BYTES,
    };
    return { seconds, counts };
  }

  /** Whatever goes wrong, it is not mounted afterwards. */
  async mounted(flags: string, workload: Workload): Promise<void> {
    await call('mount', ['-t', 'ext4', '-o', `data=${this.mode}`, this.device, this.place]);
    try {
      const file = await open(join(this.place, 'file'), flags);
      try {
        const bytes = varied(workload.requestBytes);
        await perform(
          workload,
          async (offset) => void (await file.write(bytes, 0, bytes.length, offset)),
          () => file.datasync(),
        );
      } finally {
        await file.close();
      }
    } finally {
      await call('umount', [this.place]);
    }
  }

  async #sectors(): Promise<{ read: number; written: number }> {
    const text = await readFile(`/sys/block/${basename(this.device)}/stat`, 'utf8');
    const fields = text.trim().split(/\s+/).map(Number);
    return { read: fields[2]!, written: fields[6]! };
  }
}

async function call(command: string, arguments_: readonly string[]): Promise<string> {
  const { stdout } = await execute(command, arguments_, { env: { ...process.env, LC_ALL: 'C' } });
  return stdout;
}

async function version(): Promise<string> {
  return `Linux ${(await call('uname', ['-r'])).trim()}`;
}

function wordsOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).trim().replaceAll('\n', '; ');
}
