/**
 * The lists of a volume while it is recorded: those of replicas and snapshots, and whatever else is replaced as a whole, are devices of the trace, of one
 * sector that holds the number of the version (file-versions.ts).
 */
import { sectorOfVersion, VERSION_DEVICE_BYTES } from '../../crash/file-versions.js';
import type { BlockDevice } from '../../device/contract.js';
import { MemoryDevice } from '../../device/memory.js';
import { aroundReplacements } from '../../device/replace-json.js';
import type { Recording } from './recording.js';

interface RecordedFile {
  readonly sector: FileSector;
  /** What is asked of it is recorded. */
  readonly device: BlockDevice;
  /** The newest. */
  version: number;
}

/** It is written when the file is there: that is what completes the write. */
class FileSector extends MemoryDevice {
  replace: () => Promise<void> = () => Promise.resolve();

  constructor(path: string) {
    super(VERSION_DEVICE_BYTES, { name: path });
  }

  override async write(...args: Parameters<MemoryDevice['write']>): Promise<void> {
    await this.replace();
    await super.write(...args);
  }
}

export class RecordedFiles {
  readonly #files = new Map<string, Promise<RecordedFile>>();

  constructor(
    private readonly recording: Recording,
    /** What small files held before, by their paths. */
    private readonly before: ReadonlyMap<string, Uint8Array>,
  ) {}

  /** From now on they are recorded. Returns what ends that. */
  install(): () => void {
    return aroundReplacements((path, text, replace) => this.#replace(path, text, replace));
  }

  /** Lists that may be replaced after a cut, if not before: they are devices from the start. */
  async know(paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.#at(path);
  }

  /** Those that are devices: of these it is known what a cut leaves. */
  get paths(): ReadonlySet<string> {
    return new Set(this.#files.keys());
  }

  async #replace(path: string, text: string, replace: () => Promise<void>): Promise<void> {
    const file = await this.#at(path);
    file.version += 1;
    file.sector.replace = replace;
    this.recording.version(file.sector, Buffer.from(text));
    await file.device.write(0, sectorOfVersion(file.version), { fua: true });
  }

  #at(path: string): Promise<RecordedFile> {
    const file = this.#files.get(path) ?? this.#make(path);
    this.#files.set(path, file);
    return file;
  }

  async #make(path: string): Promise<RecordedFile> {
    const sector = new FileSector(path);
    const device = await this.recording.recordFile(sector, this.before.get(path) ?? null);
    return { sector, device, version: 0 };
  }
}
