/**
 * Writes down what is done to the files below a folder, through node:fs/promises, and what of it is durable: an input of
 * cut-files.ts. What is done is done to real files too.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { basename, dirname } from 'node:path';
import { withCalls } from '../../../src/lab/self/with-calls.js';

/** A file or a folder, whatever its name. */
export type Inode = number;

export type Change =
  | {
      readonly kind: 'link';
      readonly folder: Inode;
      readonly name: string;
      readonly inode: Inode;
      readonly isFolder: boolean;
    }
  | { readonly kind: 'unlink'; readonly folder: Inode; readonly name: string }
  /** In one step. */
  | { readonly kind: 'rename'; readonly folder: Inode; readonly from: string; readonly to: string }
  | { readonly kind: 'write'; readonly inode: Inode; readonly at: number; readonly bytes: Uint8Array }
  | { readonly kind: 'truncate'; readonly inode: Inode; readonly length: number };

export type FileEvent =
  | { readonly kind: 'begins'; readonly change: Change }
  | { readonly kind: 'ends'; readonly change: Change }
  /** What of the inode had ended before event `from` is durable. */
  | { readonly kind: 'synced'; readonly inode: Inode; readonly from: number }
  | { readonly kind: 'mark'; readonly mark: string };

type Real = typeof fs.promises;
type Handle = fs.promises.FileHandle;

export interface RecordedFilesOptions {
  /** Whether an fsync of this path does anything; all do, unless said otherwise. */
  readonly keepsSync?: (path: string) => boolean;
}

export class RecordedFiles {
  static readonly root: Inode = 0;
  readonly events: FileEvent[] = [];
  readonly #inodes = new Map<string, Inode>();
  readonly #real: Real = { ...fs.promises };
  #next = 1;

  /** `root` is there, and empty. */
  constructor(
    private readonly root: string,
    private readonly options: RecordedFilesOptions = {},
  ) {
    this.#inodes.set(root, RecordedFiles.root);
  }

  mark(mark: string): void {
    this.events.push({ kind: 'mark', mark });
  }

  /** While `body` runs. */
  async record(body: () => Promise<void>): Promise<void> {
    const real = this.#real;
    const calls = {
      open: (path: string, ...rest: [never, never]) => this.#open(path, rest),
      mkdir: (path: string) => this.#mkdir(path),
      rename: (from: string, to: string) => this.#rename(from, to),
      rm: (path: string, options?: fs.RmOptions) => this.#rm(path, options),
    };
    Object.assign(fs.promises, calls);
    syncBuiltinESMExports();
    try {
      await body();
    } finally {
      const { open, mkdir, rename, rm } = real;
      Object.assign(fs.promises, { open, mkdir, rename, rm });
      syncBuiltinESMExports();
    }
  }

  async #open(path: string, rest: [never, never]): Promise<Handle> {
    const isNew = this.#isOurs(path) && !this.#inodes.has(path);
    const handle = await this.#real.open(path, ...rest);
    if (!this.#isOurs(path)) return handle;
    if (isNew) await this.#link(path, false);
    else if (rest[0] === 'w') await this.#truncate(path);
    return this.#handle(handle, path);
  }

  async #truncate(path: string): Promise<void> {
    await this.#change({ kind: 'truncate', inode: this.#inodes.get(path)!, length: 0 });
  }

  async #mkdir(path: string): Promise<undefined> {
    await this.#real.mkdir(path);
    if (this.#isOurs(path)) await this.#link(path, true);
  }

  async #rename(from: string, to: string): Promise<void> {
    const change = {
      ...{ kind: 'rename' as const, folder: this.#folderOf(to) },
      ...{ from: basename(from), to: basename(to) },
    };
    await this.#change(change, () => this.#real.rename(from, to));
    this.#inodes.set(to, this.#inodes.get(from)!);
    this.#inodes.delete(from);
  }

  /** Whatever is below it goes first, one by one. */
  async #rm(path: string, options?: fs.RmOptions): Promise<void> {
    for (const below of [...this.#inodes.keys()].filter((each) => dirname(each) === path))
      await this.#rm(below, options);
    if (!this.#inodes.has(path)) return this.#real.rm(path, options);
    const change = { kind: 'unlink' as const, folder: this.#folderOf(path), name: basename(path) };
    await this.#change(change, () => this.#real.rm(path, options));
    this.#inodes.delete(path);
  }

  #handle(handle: Handle, path: string): Handle {
    const inode = this.#inodes.get(path)!;
    const write = (at: number, bytes: Uint8Array, call: () => Promise<unknown>) =>
      this.#change({ kind: 'write', inode, at, bytes: bytes.slice() }, call);
    const calls = {
      write: async (bytes: Uint8Array, from: number, length: number, at: number) => {
        await write(at, bytes.subarray(from, from + length), () => handle.write(bytes, from, length, at));
        return { bytesWritten: length, buffer: bytes };
      },
      writeFile: (data: string | Uint8Array) => write(0, Buffer.from(data), () => handle.writeFile(data)),
      appendFile: async (data: string) => {
        const { size } = await handle.stat();
        await write(size, Buffer.from(data), () => handle.appendFile(data));
      },
      truncate: (length = 0) =>
        this.#change({ kind: 'truncate', inode, length }, () => handle.truncate(length)),
      sync: async () => {
        const from = this.events.length;
        await handle.sync();
        if (this.options.keepsSync?.(path) !== false) this.events.push({ kind: 'synced', inode, from });
      },
    };
    return withCalls<Handle>(handle, calls as unknown as Partial<Handle>);
  }

  async #link(path: string, isFolder: boolean): Promise<void> {
    const inode = this.#next++;
    this.#inodes.set(path, inode);
    const [folder, name] = [this.#folderOf(path), basename(path)];
    await this.#change({ kind: 'link', folder, name, inode, isFolder });
  }

  async #change(change: Change, call: () => Promise<unknown> = async () => {}): Promise<void> {
    this.events.push({ kind: 'begins', change });
    await call();
    this.events.push({ kind: 'ends', change });
  }

  #folderOf(path: string): Inode {
    return this.#inodes.get(dirname(path))!;
  }

  #isOurs(path: string): boolean {
    return path === this.root || path.startsWith(`${this.root}/`);
  }
}
