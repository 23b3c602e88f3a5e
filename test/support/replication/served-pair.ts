/** A volume, and its secondary in a place behind a server of ours in a process of its own, as a user has them. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import { ok } from '../run-holdfast.js';
import { type Served, serve } from '../served.js';
import { temporaryFolder } from '../temporary-folder.js';

const MIB = 1024 * 1024;

/** A volume, and the server of its secondary elsewhere. */
export class ServedPair {
  #server: Served | null = null;

  private constructor(
    readonly folder: string,
    readonly volume: string,
    readonly second: string,
    private readonly size: string,
  ) {}

  /** `through`: the URI of what stands before its server, whose socket it is given. */
  static async make({
    flags = [] as string[],
    size = '16MiB',
    through = async (socket: string) => `nbd+unix:///?socket=${socket}`,
  } = {}): Promise<ServedPair> {
    const folder = await temporaryFolder();
    const elsewhere = join(folder, 'elsewhere');
    await mkdir(elsewhere);
    const pair = new ServedPair(folder, join(folder, 'v'), join(elsewhere, 'second.img'), size);
    await ok('create', pair.volume, '--members', '1', '--size', size);
    await pair.write(5000, randomBytes(MIB));
    onTestFinished(() => pair.kill());
    await pair.start();
    const uri = await through(join(elsewhere, 'nbd.sock'));
    await ok('replica', 'add', pair.volume, '--to', uri, ...flags);
    await ok('replica', 'sync', pair.volume);
    return pair;
  }

  async start(): Promise<void> {
    this.#server = await serve(join(this.folder, 'elsewhere'), this.second, [
      '--secondary',
      '--size',
      this.size,
    ]);
  }

  /** Its server is silent, or goes on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.#server!.child.kill(signal);
  }

  /** Its server, at once. */
  async kill(): Promise<void> {
    await this.#server?.stop('SIGKILL');
    this.#server = null;
  }

  /** To the volume, or the one that its secondary has become. */
  async write(offset: number, bytes: Uint8Array, volume = this.volume): Promise<void> {
    const input = join(this.folder, 'input');
    await writeFile(input, bytes);
    await ok('write', volume, '--input', input, '--offset', String(offset));
  }

  async content(): Promise<Buffer> {
    const output = join(this.folder, 'output');
    await ok('read', this.volume, '--output', output);
    return readFile(output);
  }

  async expectAlike(): Promise<void> {
    expect((await this.content()).equals(await readFile(this.second))).toBe(true);
  }

  /** What its server says of it. */
  async told(): Promise<{
    marks: { state: string; point: { epoch: number } };
    keptBlocks: number;
    logBytes: number;
  }> {
    const { serving } = (await ok('status', this.second)) as { serving: { secondary: never } };
    return serving.secondary;
  }
}
