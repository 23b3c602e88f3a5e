/**
 * A recorded volume in some state, to be opened by the product's own code: its small files lie in a folder, its images are empty files beside
 * them that say no more than that there is one; lists that are replaced are as the state has them, and lead to what is staged. Images are not
 * opened: what a state's devices hold in memory is, by their names.
 *
 * Nothing else can be opened meanwhile: a path in a list that leads elsewhere must not reach somebody's images.
 */
import { renameSync } from 'node:fs';
import { mkdir, mkdtemp, open, realpath, rm, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { Recorder } from '../../crash/recorder.js';
import { StateContent } from '../../crash/state-content.js';
import { StateDevice } from '../../crash/state-device.js';
import type { StoredTrace, StoredVolume } from '../../crash/trace-file/trace-reader.js';
import type { BlockDevice } from '../../device/contract.js';
import { fileError } from '../../device/device-errors.js';
import type { ImageFileOptions } from '../../device/image-file.js';
import { interpose, openElsewhere } from '../../device/open-image.js';
import { UserError } from '../../errors.js';
import { type ShownDevice, StagedFiles } from './staged-files.js';

/** Not the name of anything that was recorded: those lie beside the volume, or below it. */
const LONE_NAME = '.holdfast-lone.img';
const AWAY_NAME = '.holdfast-away.img';

export class StagedVolume {
  readonly #byPath = new Map<string, number>();
  readonly #paths: string[] = [];
  readonly #lists: StagedFiles;
  #shown: readonly (ShownDevice | null)[] = [];
  #isMissing: number | null = null;

  private constructor(
    private readonly folder: string,
    /** What is opened. */
    readonly path: string,
    private readonly devices: StoredTrace['devices'],
    root: string,
  ) {
    this.#lists = new StagedFiles(devices, { root, folder });
  }

  /** In a new folder of `directory`. Throws UNSUPPORTED for a volume that cannot be put together elsewhere. */
  static async make(trace: StoredTrace, volume: StoredVolume, directory: string): Promise<StagedVolume> {
    assertStayed(volume);
    const made = await mkdtemp(join(directory, 'holdfast-crash-')).catch((error: unknown) => {
      throw fileError(directory, 'written', error);
    });
    const folder = await realpath(made);
    const root = dirname(volume.named);
    const place = (path: string): string => {
      const below = relative(root, resolve(path));
      if (below.startsWith('..')) throw isElsewhere(path, root);
      return join(folder, below);
    };
    try {
      const staged = new StagedVolume(folder, place(volume.named), trace.devices, root);
      for (const [path, bytes] of volume.files) await put(place(path), bytes);
      for (const [index, { name, size, versions }] of trace.devices.entries())
        if (versions === undefined) await staged.#addImage(index, place(name), size);
        else await staged.#lists.add(index, place(name));
      return staged;
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Which of the trace's devices it is: an image, or a list that is replaced. */
  indexOf(path: string): number | undefined {
    return this.#byPath.get(path) ?? this.#lists.indexOf(path);
  }

  /** While `body` runs the images are these devices; what is asked of those that are open for writing is recorded. */
  async with<T>(
    devices: readonly (StateDevice | null)[],
    recorder: Recorder | null,
    body: () => Promise<T>,
  ): Promise<T> {
    const missing = devices.indexOf(null);
    this.#takeAway(missing < 0 ? null : missing);
    this.#shown = devices.map((device) => device && { device, recorder });
    if (recorder !== null) this.#count(recorder, devices);
    const unlist = await this.#lists.install((index) => this.#shown[index] ?? null);
    const unguard = interpose(
      (image) => image,
      async (path) => void this.#known(path),
    );
    const unshow = openElsewhere({
      // What is missing is looked for among the files, where it is not.
      isName: (path) => this.#shown[this.#known(path)] !== null,
      open: async (path, options) => this.#show(path, options),
    });
    try {
      return await body();
    } finally {
      unlist();
      unshow();
      unguard();
      this.#shown = [];
    }
  }

  /** As `with`; `image` is one more, that no trace has: a volume of its own. */
  withLone<T>(
    image: StateDevice,
    devices: readonly (StateDevice | null)[],
    body: (path: string) => Promise<T>,
  ): Promise<T> {
    const path = join(this.folder, LONE_NAME);
    return this.with([...devices, image], null, async () => {
      if (!this.#byPath.has(path)) await this.#addImage(this.devices.length, path, image.size);
      return body(path);
    });
  }

  /** So that it has all of them in their order, the one that is missing too. */
  #count(recorder: Recorder, devices: readonly (StateDevice | null)[]): void {
    for (const [index, device] of devices.entries()) {
      const { name, size } = this.devices[index]!;
      const any = device ?? new StateDevice(StateContent.over(index, new Map()), { name, size });
      recorder.record(any, { identity: `${index}` });
    }
  }

  #show(path: string, { readOnly }: ImageFileOptions): BlockDevice {
    const index = this.#known(path);
    const { device, recorder } = this.#shown[index]!;
    const { size } = device;
    // Several may have it open: each its own, of one content.
    const own = new StateDevice(device.content, { name: path, size, readOnly });
    return (recorder ?? new Recorder({ keepEvents: false })).record(own, { identity: `${index}` });
  }

  #known(path: string): number {
    const index = this.#byPath.get(resolve(path));
    if (index !== undefined) return index;
    throw new UserError('UNSUPPORTED', `${path} is opened, and was not recorded`, {
      hint: 'Volumes are checked whose images were all there, and open, while they were recorded.',
    });
  }

  async #addImage(index: number, path: string, size: number): Promise<void> {
    this.#byPath.set(path, index);
    this.#paths[index] = path;
    await makeEmpty(path, size);
  }

  /** At once: states with a member and without it come by turns, and waiting for it took a quarter of the time. */
  #takeAway(missing: number | null): void {
    const before = this.#isMissing;
    if (before === missing) return;
    const away = join(this.folder, AWAY_NAME);
    if (before !== null) renameSync(away, this.#paths[before]!);
    if (missing !== null) renameSync(this.#paths[missing]!, away);
    this.#isMissing = missing;
  }
}

async function makeEmpty(path: string, size: number): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const file = await open(path, 'w').catch((error: unknown) => {
    throw fileError(path, 'made', error);
  });
  try {
    await file.truncate(size);
  } finally {
    await file.close();
  }
}

async function put(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes).catch((error: unknown) => {
    throw fileError(path, 'written', error);
  });
}

function assertStayed({ changed }: StoredVolume): void {
  const [path] = changed;
  if (path === undefined) return;
  throw new UserError('UNSUPPORTED', `${path} was changed while the volume was recorded`, {
    hint: 'Which of them a cut leaves is not in the trace: record without making replicas or snapshots meanwhile, or give a --check.',
  });
}

function isElsewhere(path: string, root: string): UserError {
  return new UserError('UNSUPPORTED', `${path} lies elsewhere than the volume, in ${root}`, {
    hint: 'Volumes are checked whose images are all in their directory. Record one that is, or give a --check.',
  });
}
