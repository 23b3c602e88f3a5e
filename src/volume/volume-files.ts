/**
 * The files of an open volume of the format `extents`: opened when somebody first asks for them, closed before what
 * lies below. Who serves them is told of those that come and go.
 */
import type { ExtentStore } from '../extents/index.js';

export type FileChange = 'made' | 'removed';

export class VolumeFiles {
  #opened: Promise<OpenFiles> | null = null;
  #listener: ((name: string, change: FileChange) => Promise<void>) | null = null;

  constructor(private readonly open: () => Promise<OpenFiles>) {}

  /** The same one every time. @throws what opening them throws. */
  async store(): Promise<ExtentStore> {
    this.#opened ??= this.open();
    return (await this.#opened).store;
  }

  /** Whether its files are disks of others at this moment. */
  get isServed(): boolean {
    return this.#listener !== null;
  }

  /** One listener: who serves the volume. What it throws refuses the change. */
  listen(listener: (name: string, change: FileChange) => Promise<void>): void {
    this.#listener = listener;
  }

  async announce(name: string, change: FileChange): Promise<void> {
    await this.#listener?.(name, change);
  }

  /** Whoever opened them in vain has been told why. */
  async close(): Promise<void> {
    const opened = await this.#opened?.catch(() => null);
    await opened?.close();
  }
}

export interface OpenFiles {
  readonly store: ExtentStore;
  /** Closing twice is allowed. */
  close(): Promise<void>;
}
