/**
 * Of a staged volume the files that are replaced as a whole: each lies there as the version which the state's device says (file-versions.ts).
 * Who replaces one writes to that device, so that a cut amid it is one of the recovery's. Nothing is fsynced: no cut but those counts.
 */
import { mkdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  type FileVersion,
  sectorOfVersion,
  VERSION_DEVICE_BYTES,
  versionOn,
} from '../../crash/file-versions.js';
import { Recorder } from '../../crash/recorder.js';
import { StateDevice } from '../../crash/state-device.js';
import type { StoredDevice } from '../../crash/trace-file/trace-reader.js';
import { aroundReplacements } from '../../device/replace-json.js';
import { UserError } from '../../errors.js';
import { putVersion } from '../explore/put-version.js';

/** What a state has as a device. */
export interface ShownDevice {
  readonly device: StateDevice;
  readonly recorder: Recorder | null;
}

interface StagedFile {
  readonly path: string;
  /** Of the trace's device, which gets those that recoveries make: a failure amid one is kept with them. */
  readonly versions: FileVersion[];
  /** The one that lies there. */
  staged: FileVersion;
}

export class StagedFiles {
  readonly #files = new Map<number, StagedFile>();
  readonly #byPath = new Map<string, number>();

  /** What lies below `root` is staged below `folder`, and the lists say so. */
  constructor(
    private readonly devices: readonly StoredDevice[],
    private readonly moved: { readonly root: string; readonly folder: string },
  ) {}

  async add(index: number, path: string): Promise<void> {
    const file = { path, versions: this.devices[index]!.versions!, staged: null };
    this.#files.set(index, file);
    this.#byPath.set(resolve(path), index);
    await mkdir(dirname(path), { recursive: true });
    putVersion(path, null);
  }

  /** Which of the trace's devices it is. */
  indexOf(path: string): number | undefined {
    return this.#byPath.get(resolve(path));
  }

  /** They are as the shown devices say. Until what it returns is called those are written when a file is replaced. */
  async install(shown: (index: number) => ShownDevice | null): Promise<() => void> {
    for (const [index, file] of this.#files) {
      this.#stage(file, versionOn(shown(index)!.device, file.versions));
    }
    return aroundReplacements(async (path, text) => {
      const index = this.#byPath.get(resolve(path));
      if (index === undefined) throw isUnknown(path);
      const file = this.#files.get(index)!;
      const { root, folder } = this.moved;
      const version = versionOf(file, Buffer.from(text.replaceAll(folder, root)));
      const { device, recorder } = shown(index)!;
      const own = new StateDevice(device.content, { name: path, size: VERSION_DEVICE_BYTES });
      const recorded = (recorder ?? new Recorder({ keepEvents: false })).record(own, {
        identity: `${index}`,
      });
      await recorded.write(0, sectorOfVersion(version), { fua: true });
      this.#stage(file, file.versions[version]!);
    });
  }

  #stage(file: StagedFile, version: FileVersion): void {
    if (file.staged === version) return;
    const { root, folder } = this.moved;
    const text = version && Buffer.from(version).toString().replaceAll(root, folder);
    putVersion(file.path, text === null ? null : Buffer.from(text));
    file.staged = version;
  }
}

/** The same text is the same version: states are told apart by it. */
function versionOf({ versions }: StagedFile, text: Uint8Array): number {
  const known = versions.findIndex((version) => version !== null && Buffer.compare(version, text) === 0);
  return known >= 0 ? known : versions.push(text) - 1;
}

function isUnknown(path: string): UserError {
  return new UserError('UNSUPPORTED', `${path} is replaced, and was not while the volume was recorded`, {
    hint: 'Which versions a cut leaves of it is not in the trace.',
  });
}
