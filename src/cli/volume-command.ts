/**
 * What the commands that work on one volume share: it is opened, its condition is told, and whatever happens
 * it is closed, so that it is clean again. What opens volumes is loaded when one is opened.
 */
import type { Command } from '@oclif/core/command';
import type { BlockDevice } from '../device/contract.js';
import type {
  Located,
  OpenVolumeOptions,
  OperationArguments,
  OperationName,
  OperationResult,
  openVolume,
  Volume,
} from '../volume/index.js';
import { HoldfastCommand, type SweepReporting } from './base-command.js';
import { type InputData, OutputFile, openInput, refuseOwnImages } from './data-files.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';
import { recordFlag } from './flags.js';

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

type Options = Omit<OpenVolumeOptions, 'warn' | 'sweep' | 'record'>;
type DataOptions = Options & { readonly snapshot?: string | undefined };

export abstract class VolumeCommand<T extends typeof Command> extends HoldfastCommand<T> {
  // oclif's manifest stops at a class without statics of its own, and would lose what is above it.
  static override exitCodes = COMMON_EXIT_CODES;
  static override baseFlags = { ...HoldfastCommand.baseFlags, record: recordFlag };

  /**
   * Opens the volume (and recovers it, where it is opened for writing), runs `use` and closes it.
   * What `use` throws comes before what closing throws, which is then told as a warning.
   */
  protected async withVolume<R>(
    names: readonly string[],
    options: Options,
    use: (volume: Volume) => Promise<R>,
  ): Promise<R> {
    const { openVolume } = await import('../volume/index.js');
    return this.#with(names, options, openVolume, use);
  }

  /** The same for the volume's bytes alone: where it is served they come from its server. */
  protected async withData<R>(
    names: readonly string[],
    options: DataOptions,
    use: (volume: Volume) => Promise<R>,
  ): Promise<R> {
    const { openForData } = await import('../volume/index.js');
    return this.#with(names, options, openForData, use);
  }

  async #with<R>(
    names: readonly string[],
    options: Options,
    open: typeof openVolume,
    use: (volume: Volume) => Promise<R>,
  ): Promise<R> {
    const volume = await this.#open(names, options, open);
    const { thenClose } = await import('../volume/index.js');
    const work = () => {
      this.#warnDegraded(volume);
      return use(volume);
    };
    return thenClose(volume, (message) => this.warn(message), work);
  }

  /**
   * Does an operation on the volume: here, or where it is served, in its server. `label`: of its progress, if it takes
   * long.
   */
  protected async act<N extends OperationName>(
    names: readonly string[],
    name: N,
    args: OperationArguments<N>,
    { label, force = false }: { label?: string; force?: boolean } = {},
  ): Promise<OperationResult<N>> {
    const { act } = await import('../volume/index.js');
    const perform = ({ signal, onProgress }: SweepReporting) =>
      act(names, name, args, {
        force,
        record: this.recordFile,
        reporting: { signal, onProgress, warn: (message) => void this.warn(message) },
        onOpen: (volume) => this.#warnDegraded(volume),
      });
    return label === undefined
      ? perform({ signal: this.signal, onProgress: () => undefined })
      : this.sweeping(label, perform);
  }

  /** What is to be written to the volume: a file, or `-`. @throws UserError USAGE for one of its own images. */
  protected async inputFor(names: readonly string[], path: string): Promise<InputData> {
    const { locateVolume, ownImages } = await import('../volume/index.js');
    await refuseOwnImages(path, ownImages(await locateVolume(names)));
    return openInput(path, this.signal);
  }

  /**
   * Copies a range to `output`, a file or `-`. Where the file can have holes, `isSparse` leaves out what is none of the
   * device's data. A mistake in the range does not cost what the file held.
   */
  protected async deliver(
    device: BlockDevice,
    range: ByteRange,
    output: string,
    located: Located,
    isSparse = false,
  ): Promise<void> {
    if (output === '-') {
      await this.#copy(device, range, (data) => this.writeData(data));
      // Also where there was not one byte.
      this.claimOutputForData();
      return;
    }
    const { assertRange } = await import('../volume/stream.js');
    assertRange(device, range.offset, range.length);
    const { ownImages } = await import('../volume/index.js');
    const file = await OutputFile.create(output, ownImages(located));
    const skip = isSparse && file.canSkip ? (bytes: number) => file.skip(bytes) : undefined;
    try {
      await this.#copy(device, range, (data) => file.write(data), skip);
    } finally {
      await file.close();
    }
  }

  async #copy(
    device: BlockDevice,
    { offset, length }: ByteRange,
    put: (data: Uint8Array) => Promise<void>,
    skip?: (bytes: number) => Promise<void>,
  ): Promise<void> {
    const { readStream, sparseStream } = await import('../volume/index.js');
    await this.sweeping('read', async (options) => {
      if (skip === undefined) {
        for await (const data of readStream(device, offset, length, options)) await put(data);
        return;
      }
      for await (const piece of sparseStream(device, offset, length, options)) {
        await (typeof piece === 'number' ? skip(piece) : put(piece));
      }
    });
  }

  /** A base flag of all these commands, which the type of `flags` does not know of. */
  protected get recordFile(): string | undefined {
    return (this.flags as { readonly record?: string }).record;
  }

  async #open(names: readonly string[], choice: Options, open: typeof openVolume): Promise<Volume> {
    const options = { ...choice, record: this.recordFile };
    const warn = (message: string): void => void this.warn(message);
    if (options.access === 'read') return open(names, { ...options, warn });
    return this.sweeping('recover', (sweep) => open(names, { ...options, warn, sweep }));
  }

  #warnDegraded({ array, label }: Volume): void {
    const slots = array?.core.degradedSlots ?? [];
    if (slots.length === 0) return;
    this.warn(`${label} is degraded: there is no whole member in slot ${slots.join(', ')}`);
  }
}

/** Seconds since `startedMs` (of performance.now()), to the millisecond. */
export function secondsSince(startedMs: number): number {
  return Math.round(performance.now() - startedMs) / 1000;
}
