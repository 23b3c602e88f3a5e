/**
 * An image whose old content goes into an undo file before it is overwritten: the whole rule of undoing, in one
 * place, whoever writes and why.
 *
 * Order: a write, write-zeroes or trim reads the sectors that have not been kept yet, waits until the undo file has
 * them durably, and only then goes to the image. A superblock's next state is noted durably in the same way: what
 * the repair has left can be told from what others wrote since.
 */
import { byteLength, gather } from '../../device/buffers.js';
import { CallGuard } from '../../device/call-guard.js';
import {
  type BlockDevice,
  type Buffers,
  DeviceError,
  type DeviceOperation,
  type Extent,
  type WriteOptions,
} from '../../device/contract.js';
import { type Range, RangeSet } from '../../device/range-set.js';
import { describeCause } from '../../raid/core.js';
import { examineImage } from '../../raid/md/examine.js';
import { type MetadataVersion, SECTOR_BYTES } from '../../raid/md/model.js';
import { type SuperblockPlace, superblockPlaces } from '../../raid/md/places.js';
import { hashOf, MAX_PAYLOAD_BYTES, type UndoImageFacts } from './undo-entries.js';
import type { UndoFile } from './undo-file.js';

/** Copies of old content that wait to be written, at most. */
const PIECES_AT_ONCE = 16;

/** What one run of fsck keeps, over all openings of its images. */
export class UndoImages {
  private readonly known = new Map<string, UndoImage>();

  /** `version` of the array, if there is one: where an image's superblock belongs of which nothing is left. */
  constructor(
    readonly file: UndoFile,
    private readonly version: MetadataVersion | null,
  ) {}

  /** `device` is an image that was just opened for writing. */
  over(device: BlockDevice): UndoDevice {
    const image = this.known.get(device.name) ?? {
      kept: new RangeSet(),
      version: this.version,
      facts: null,
    };
    this.known.set(device.name, image);
    return new UndoDevice(device, this.file, image);
  }
}

interface UndoImage {
  /** What is durable in the undo file. */
  readonly kept: RangeSet;
  readonly version: MetadataVersion | null;
  /** As it was before the first write. */
  facts: Promise<UndoImageFacts> | null;
}

export class UndoDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  private readonly guard: CallGuard;

  constructor(
    private readonly image: BlockDevice,
    private readonly file: UndoFile,
    private readonly state: UndoImage,
  ) {
    this.name = image.name;
    this.size = image.size;
    this.blockSize = image.blockSize;
    this.readOnly = image.readOnly;
    this.guard = new CallGuard(this);
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.guard.run('read', offset, byteLength(into), () => this.image.read(offset, into));
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    return this.guard.run('write', offset, length, async () => {
      await this.keep('write', { start: offset, end: offset + length }, (at, into) => gather(from, at, into));
      await this.image.write(offset, from, options);
    });
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.guard.run('write-zeroes', offset, length, async () => {
      await this.keep('write-zeroes', { start: offset, end: offset + length }, (_, into) => into.fill(0));
      await this.image.writeZeroes(offset, length, options);
    });
  }

  trim(offset: number, length: number): Promise<void> {
    return this.guard.run('trim', offset, length, async () => {
      await this.keep('trim', { start: offset, end: offset + length }, (_, into) => into.fill(0));
      await this.image.trim(offset, length);
    });
  }

  flush(): Promise<void> {
    return this.guard.flush(() => this.image.flush());
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.guard.ask(offset, length, [], () => this.image.extents(offset, length));
  }

  close(): Promise<void> {
    return this.guard.close(() => this.image.close());
  }

  /** `next` gives what the range will hold, from some byte of it on. */
  private async keep(
    operation: DeviceOperation,
    range: Range,
    next: (at: number, into: Uint8Array) => void,
  ): Promise<void> {
    this.state.facts ??= factsOf(this.image, this.state.version);
    const facts = await this.state.facts;
    try {
      const number = await this.file.imageNumber(facts);
      await this.keepContent(number, range);
      await this.noteState(number, facts, range, next);
    } catch (error) {
      if (this.file.failure === null) throw error;
      throw refused(this.name, operation, range, this.file);
    }
  }

  private async keepContent(number: number, range: Range): Promise<void> {
    const missing = this.state.kept.without(range.start, range.end);
    const pieces = [...piecesOf(missing)];
    for (let first = 0; first < pieces.length; first += PIECES_AT_ONCE) {
      await Promise.all(
        pieces.slice(first, first + PIECES_AT_ONCE).map(async ({ start, end }) => {
          await this.keepPiece(number, start, end);
          this.state.kept.add(start, end);
        }),
      );
    }
  }

  /** What cannot be read has no content that could be put back; the sectors beside it have. */
  private async keepPiece(number: number, start: number, end: number): Promise<void> {
    const old = new Uint8Array(end - start);
    try {
      await this.image.read(start, old);
    } catch (error) {
      if (!(error instanceof DeviceError) || error.code !== 'IO_ERROR') throw error;
      if (old.byteLength <= this.blockSize) return;
      for (let at = start; at < end; at += this.blockSize) {
        await this.keepPiece(number, at, at + this.blockSize);
      }
      return;
    }
    await this.file.keep(number, start, old);
  }

  private async noteState(
    number: number,
    { superOffset }: UndoImageFacts,
    { start, end }: Range,
    next: (at: number, into: Uint8Array) => void,
  ): Promise<void> {
    if (superOffset === null || end <= superOffset || start >= superOffset + SECTOR_BYTES) return;
    const sector = new Uint8Array(SECTOR_BYTES);
    await this.image.read(superOffset, sector);
    const from = Math.max(start, superOffset);
    const to = Math.min(end, superOffset + SECTOR_BYTES);
    next(from - start, sector.subarray(from - superOffset, to - superOffset));
    await this.file.noteState(number, superOffset, hashOf(sector));
  }
}

/** Where there is one, and it can be read: only then can it tell who wrote it last. */
async function firstReadable(
  device: BlockDevice,
  place: Pick<SuperblockPlace, 'superOffset'> | undefined,
  sector: Uint8Array,
): Promise<number | null> {
  if (place === undefined) return null;
  try {
    await device.read(place.superOffset, sector);
    return place.superOffset;
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'IO_ERROR') throw error;
    return null;
  }
}

/** Of a damaged superblock too: it may be about to be restored. */
async function factsOf(device: BlockDevice, version: MetadataVersion | null): Promise<UndoImageFacts> {
  const { superblocks, damaged } = await examineImage(device);
  const [superblock] = superblocks;
  const place = superblockPlaces(device.size).find((each) => each.version === version);
  const sector = new Uint8Array(SECTOR_BYTES);
  const superOffset = await firstReadable(device, superblock ?? damaged[0] ?? place, sector);
  return {
    path: device.name,
    deviceUuid: superblock?.deviceUuid ?? '',
    sizeBytes: device.size,
    superOffset,
    dataOffset: superblock?.dataOffset ?? 0,
    dataBytes: superblock?.memberSizeBytes ?? 0,
    superblockHash: hashOf(sector),
  };
}

function* piecesOf(ranges: readonly Range[]): Generator<Range> {
  for (const { start, end } of ranges) {
    for (let at = start; at < end; at += MAX_PAYLOAD_BYTES) {
      yield { start: at, end: Math.min(end, at + MAX_PAYLOAD_BYTES) };
    }
  }
}

/**
 * As of a full disk, whatever the undo file failed of: the image is as good as it was, and nobody above may take it
 * for one that broke. What it failed of, `UndoFile.failure` has.
 */
function refused(
  image: string,
  operation: DeviceOperation,
  { start, end }: Range,
  file: UndoFile,
): DeviceError {
  const why = describeCause(file.failure);
  return new DeviceError(
    'NO_SPACE',
    `${image}: ${operation} of ${end - start} bytes at offset ${start} refused, because what is there could not be kept: ${why}`,
    { device: image, operation, offset: start, length: end - start, cause: file.failure },
    'name an undo file on another filesystem, or free space',
  );
}
