/**
 * The images of a volume while it is recorded: each that it opens for writing is a device of the trace. What was opened for
 * reading is none, and what is no image (a manifest, lists of replicas and snapshots) neither.
 */
import { identityOf } from '../../crash/injected-images.js';
import type { BlockDevice } from '../../device/contract.js';
import type { ImageFileOptions } from '../../device/image-file.js';
import { interpose } from '../../device/open-image.js';
import type { CopyOptions } from './copy-base.js';
import type { Recording } from './recording.js';

export class RecordedImages {
  /** How many files there have been of an identity: that of one which was removed may be given to a new one. */
  readonly #made = new Map<string, number>();

  constructor(
    private readonly recording: Recording,
    private readonly options: CopyOptions,
  ) {}

  /** From now on images are recorded. Returns what ends that; those that are open stay recorded. */
  install(): () => void {
    return interpose((image, options) => this.#wrap(image, options));
  }

  async #wrap(image: BlockDevice, { readOnly, create }: ImageFileOptions): Promise<BlockDevice> {
    if (readOnly) return image;
    const file = await identityOf(image.name);
    const made = (this.#made.get(file) ?? 0) + (create === undefined ? 0 : 1);
    this.#made.set(file, made);
    return this.recording.record(image, `${file} ${made}`, this.options);
  }
}
