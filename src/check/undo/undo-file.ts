/**
 * The undo file while a repair runs: keeps what is about to be overwritten, durably.
 *
 * Invariants
 * - What was kept is durable when `keep` returns: it may be overwritten from then on, and not before.
 * - Entries that wait share one write and one fsync, and no later one is written before these are durable: so a
 *   crash tears the file at its end alone, and whatever is torn off had not been overwritten.
 * - Each sector of an image is kept once, as it was before the repair.
 * - After a failure nothing is kept any more, and so nothing is overwritten.
 */
import { randomBytes } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError, systemCode } from '../../device/device-errors.js';
import { systemCalls } from '../../device/file-calls.js';
import { uninterrupted, writeFully } from '../../device/file-transfer.js';
import { syncDirectory } from '../../device/image-open.js';
import { isZero } from '../../device/zeroes.js';
import { UserError } from '../../errors.js';
import {
  type EntryDraft,
  encodeEntry,
  encodeHeader,
  encodeImage,
  encodeState,
  type UndoImageFacts,
} from './undo-entries.js';

/** Enough that an fsync is shared, little enough that nobody waits long for it. */
const MAX_BATCH_ENTRIES = 64;

interface Waiting {
  readonly draft: EntryDraft;
  resolve(): void;
  reject(error: unknown): void;
}

export class UndoFile {
  private readonly waiting: Waiting[] = [];
  private readonly images = new Map<string, Promise<number>>();
  private isWriting = false;
  private sequence = 0n;
  private entryCount = 0;
  private broken: unknown = null;

  private constructor(
    readonly path: string,
    private readonly handle: FileHandle,
    private readonly fileId: bigint,
    private tail: number,
  ) {}

  /** The file, its header and its name are durable. Throws NOT_BLANK for one that is there. */
  static async create(path: string, volumeUuid: string): Promise<UndoFile> {
    const handle = await open(path, 'wx').catch((error: unknown) => {
      throw systemCode(error) === 'EEXIST' ? undoFileExists(path) : fileError(path, 'made', error);
    });
    try {
      const fileId = randomBytes(8).readBigUInt64LE();
      const header = encodeHeader({ volumeUuid, fileId, created: Math.floor(Date.now() / 1000) });
      await writeFully(systemCalls, handle.fd, 0, header);
      await handle.sync();
      await syncDirectory(dirname(path));
      return new UndoFile(path, handle, fileId, header.byteLength);
    } catch (error) {
      // What went wrong is what the user must hear; nothing has been kept in it yet.
      await unlink(path).catch(() => undefined);
      await handle.close();
      throw fileError(path, 'written', error);
    }
  }

  /** Why nothing is kept any more; null: all is well. */
  get failure(): unknown {
    return this.broken;
  }

  get sizeBytes(): number {
    return this.tail;
  }

  /** Stretches of images that were kept. */
  get keptEntries(): number {
    return this.entryCount;
  }

  /** The number of an image, of which `facts` says what it was. The first who asks has it written down. */
  imageNumber(facts: UndoImageFacts): Promise<number> {
    const known = this.images.get(facts.path);
    if (known !== undefined) return known;
    const number = this.images.size;
    const payload = encodeImage(facts);
    const entered = this.append({ kind: 'image', image: number, offset: 0, length: 0, payload }).then(
      () => number,
    );
    this.images.set(facts.path, entered);
    return entered;
  }

  /** At most MAX_PAYLOAD_BYTES. */
  async keep(image: number, offset: number, bytes: Uint8Array): Promise<void> {
    const { byteLength: length } = bytes;
    this.entryCount++;
    if (isZero(bytes)) {
      await this.append({ kind: 'zeroes', image, offset, length, payload: new Uint8Array(0) });
    } else await this.append({ kind: 'content', image, offset, length, payload: bytes });
  }

  /** The superblock at `offset` may have a first sector of this hash from now on. */
  async noteState(image: number, offset: number, superblockHash: string): Promise<void> {
    await this.append({ kind: 'state', image, offset, length: 0, payload: encodeState(superblockHash) });
  }

  async close(): Promise<void> {
    await this.handle.close();
  }

  private append(draft: EntryDraft): Promise<void> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ draft, resolve, reject });
      if (!this.isWriting) void this.writeAll();
    });
  }

  /** Never rejects: who waits for an entry is told. */
  private async writeAll(): Promise<void> {
    this.isWriting = true;
    while (this.waiting.length > 0) {
      const batch = this.waiting.splice(0, MAX_BATCH_ENTRIES);
      try {
        await this.writeBatch(batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        this.broken ??= fileError(this.path, 'written', error);
        for (const { reject } of batch) reject(this.broken);
      }
    }
    this.isWriting = false;
  }

  private async writeBatch(batch: readonly Waiting[]): Promise<void> {
    // A failed fsync is final: what it dropped would be reported as written by the next.
    if (this.broken !== null) throw this.broken;
    const committed = this.tail;
    const entries = batch.map(({ draft }) =>
      encodeEntry(draft, { fileId: this.fileId, sequence: this.sequence++, committed }),
    );
    await writeFully(systemCalls, this.handle.fd, committed, entries);
    await uninterrupted(() => systemCalls.fdatasync(this.handle.fd));
    this.tail += entries.reduce((sum, entry) => sum + entry.byteLength, 0);
  }
}

export function undoFileExists(path: string): UserError {
  return new UserError(
    'NOT_BLANK',
    `${path} is there already: an undo file is never written over another file`,
    {
      hint: 'name a file that is not there yet; nothing was repaired',
      details: { file: path },
    },
  );
}
