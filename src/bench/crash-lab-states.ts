/** Two ways to have a state as a file: a copy of the image for each, and one file that is changed from state to state. */
import { copyFile, open, rm } from 'node:fs/promises';
import type { StateDevice } from '../crash/state-device.js';
import { runCommand } from '../lab/explore/run-command.js';
import { StateImage } from '../lab/explore/state-image.js';

export interface StatesShown {
  /** The state is a file, and the command has run on it. */
  show(device: StateDevice): Promise<void>;
  /** Takes the file away. */
  end(): Promise<void>;
}

interface Place {
  readonly path: string;
  /** null: none. */
  readonly command: string | null;
}

const PAGE_BYTES = 4096;
const LIMIT_MS = 60_000;

export class CopiedStates implements StatesShown {
  constructor(
    private readonly image: string,
    private readonly place: Place,
  ) {}

  async show(device: StateDevice): Promise<void> {
    const { path } = this.place;
    await copyFile(this.image, path);
    const file = await open(path, 'r+');
    try {
      const page = new Uint8Array(PAGE_BYTES);
      for (const number of device.content.changedPages()) {
        device.content.read(number * PAGE_BYTES, page);
        await file.write(page, 0, PAGE_BYTES, number * PAGE_BYTES);
      }
    } finally {
      await file.close();
    }
    await runOn(this.place);
  }

  async end(): Promise<void> {
    await rm(this.place.path, { force: true });
  }
}

export class ShownStates implements StatesShown {
  readonly #image: StateImage;

  constructor(private readonly place: Place) {
    this.#image = new StateImage(place.path);
  }

  async show(device: StateDevice): Promise<void> {
    await this.#image.show(device);
    await runOn(this.place);
    await this.#image.wasWritten(device);
  }

  async end(): Promise<void> {
    await rm(this.place.path, { force: true });
  }
}

async function runOn({ command, path }: Place): Promise<void> {
  if (command === null) return;
  const signal = new AbortController().signal;
  await runCommand(command, { env: { image: path }, limitMs: LIMIT_MS, signal });
}
