/**
 * A backup that is being made in a set. Content is appended once, in whatever order it comes, with one hash each; what is
 * only zeroes has none.
 *
 * The order of what becomes durable: the content; the list of its pieces; their names; and last the file that says that the
 * backup is good. Whatever cuts it before that leaves one that is not.
 */

import { type FileHandle, open } from 'node:fs/promises';
import { allEnded } from '../../device/all-ended.js';
import { fileError } from '../../device/device-errors.js';
import { EarlyFlushes } from '../../device/early-flushes.js';
import { syncDirectory } from '../../device/image-open.js';
import { isZero } from '../../device/zeroes.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES } from '../../replication/blocks.js';
import type { BackupTarget } from '../backup/target.js';
import { type BackupRecord, writeBackup } from './backup-file.js';
import { type BegunBackup, beginBackup, type NewBackup } from './begin-backup.js';
import { hashOfContent } from './piece-hash.js';
import { PieceTable } from './piece-table.js';
import { encodePieces, hashOf, MOST_CHUNK_BYTES } from './pieces-file.js';
import type { BackupPlaces } from './places.js';

const CHUNK_BYTES = 1024 * 1024;

export interface SetWriterOptions extends NewBackup {
  /** The most that a piece has; whole blocks of 4 KiB, 1 MiB unless said otherwise. */
  readonly chunkBytes?: number;
}

export class SetWriter implements BackupTarget {
  readonly name: string;
  readonly #places: BackupPlaces;
  readonly #begun: BackupRecord;
  readonly #data: FileHandle;
  readonly #early = new EarlyFlushes({ flush: () => this.#syncContent() });
  readonly #pieces = new PieceTable();
  readonly #inFlight = new Set<Promise<void>>();
  #copiedBytes = 0;
  #dataBytes = 0;
  #failure: { readonly error: unknown } | null = null;
  #hasEnded = false;
  #finishing: Promise<void> | null = null;
  /** Whether its file says that it is good; null: it may. */
  #isGood: boolean | null = false;

  private constructor(
    { places, record, data }: BegunBackup,
    private readonly chunkBytes: number,
  ) {
    this.name = places.directory;
    this.#places = places;
    this.#begun = record;
    this.#data = data;
  }

  /** Makes the set too where there is none. @throws what `beginBackup` throws. */
  static async create(directory: string, options: SetWriterOptions): Promise<SetWriter> {
    const { chunkBytes = CHUNK_BYTES, ...wanted } = options;
    if (!(chunkBytes > 0 && chunkBytes % BLOCK_BYTES === 0 && chunkBytes <= MOST_CHUNK_BYTES))
      throw new RangeError(
        `pieces of ${chunkBytes} bytes are no whole blocks, or more than can be read at once`,
      );
    return new SetWriter(await beginBackup(directory, wanted), chunkBytes);
  }

  /** 16 bytes, in hexadecimal. */
  get id(): string {
    return this.#begun.id;
  }

  /** Of the backup since which it is; null: of none. */
  get parentId(): string | null {
    return this.#begun.parent?.id ?? null;
  }

  /** Bytes of content so far. */
  get dataBytes(): number {
    return this.#dataBytes;
  }

  async put(offset: number, content: Uint8Array): Promise<void> {
    this.#admit(offset, content.length);
    this.#copiedBytes += content.length;
    const parts: Promise<void>[] = [];
    for (let at = 0; at < content.length; ) {
      const length = Math.min(this.chunkBytes - ((offset + at) % this.chunkBytes), content.length - at);
      parts.push(this.#tracked(this.#putPiece(offset + at, content.subarray(at, at + length))));
      at += length;
    }
    // Until all have ended the content is in use.
    await allEnded(parts);
  }

  async zero(offset: number, length: number): Promise<void> {
    this.#admit(offset, length);
    // Of what is in no backup of the chain nothing need be said.
    if (length > 0 && this.#begun.parent !== null) this.#pieces.add({ offset, length, content: 'unused' });
  }

  finish(): Promise<void> {
    this.#finishing ??= this.#finish();
    return this.#finishing;
  }

  /** It may be abandoned meanwhile, until it is said to be good. */
  async #finish(): Promise<void> {
    this.#admit(0, 0);
    await Promise.allSettled(this.#inFlight);
    this.#admit(0, 0);
    const { id, setUuid, sizeBytes } = this.#begun;
    const dataBytes = this.#dataBytes;
    const pieces = await encodePieces(this.#pieces, { id, setUuid, sizeBytes, dataBytes }, this.chunkBytes);
    // The operating system tells of a failure once: it may have told one of these.
    await this.#early.end();
    await this.#syncContent();
    await this.#writePieces(pieces);
    this.#admit(0, 0);
    this.#isGood = null;
    const counts = { copiedBytes: this.#copiedBytes, dataBytes, piecesHash: hashOf(pieces) };
    await writeBackup(this.#places, { ...this.#begun, ...counts, state: 'good', endedMs: Date.now() });
    this.#isGood = true;
    await this.#end();
  }

  async abandon(state: 'failed' | 'cancelled', reason: string): Promise<boolean> {
    if (this.#hasEnded) return this.#isGood !== true;
    this.#failure ??= { error: new Error(`the backup was abandoned: ${reason}`) };
    await Promise.allSettled([...this.#inFlight, this.#finishing]);
    if (this.#isGood === true) return false;
    const marked = { ...this.#begun, copiedBytes: this.#copiedBytes, state, reason, endedMs: Date.now() };
    const mark = () => writeBackup(this.#places, marked);
    try {
      // What it has is of no use, and its disk may be full.
      const first = mark();
      // Unless it may be said to be good: then it keeps what it has.
      await (this.#isGood === null ? first : first.catch(() => undefined));
      await this.#early.end();
      await this.#data.truncate(0);
      await mark();
    } catch {
      // What cannot be marked says that it runs, and nobody has it locked: it is found to be cut.
    }
    await this.#end();
    return true;
  }

  /** What is put is the caller's to get right. */
  #admit(offset: number, length: number): void {
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#hasEnded) throw new Error(`${this.name} has ended`);
    const { sizeBytes } = this.#begun;
    const end = offset + length;
    const isWhole = offset % BLOCK_BYTES === 0 && (length % BLOCK_BYTES === 0 || end === sizeBytes);
    if (!isWhole || offset < 0 || length < 0 || end > sizeBytes)
      throw new RangeError(
        `${length} bytes at ${offset} are no whole blocks within the ${sizeBytes} bytes of the volume`,
      );
  }

  async #putPiece(offset: number, content: Uint8Array): Promise<void> {
    if (isZero(content)) return this.#pieces.add({ offset, length: content.length, content: 'zeroes' });
    const at = this.#dataBytes;
    this.#dataBytes += content.length;
    const [hash] = await Promise.all([hashOfContent(content), this.#append(at, content)]);
    this.#pieces.add({ offset, length: content.length, content: { at, hash } });
  }

  async #append(at: number, content: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < content.length; ) {
        const { bytesWritten } = await this.#data.write(content, done, content.length - done, at + done);
        done += bytesWritten;
      }
    } catch (cause) {
      throw this.#failed(fileError(this.#places.data, 'written', cause));
    }
    this.#early.wrote(content.length);
  }

  #tracked(call: Promise<void>): Promise<void> {
    this.#inFlight.add(call);
    const left = () => void this.#inFlight.delete(call);
    call.then(left, left);
    return call;
  }

  async #syncContent(): Promise<void> {
    try {
      await this.#data.sync();
    } catch (cause) {
      throw this.#failed(fileError(this.#places.data, 'made durable', cause));
    }
  }

  async #writePieces(bytes: Uint8Array): Promise<void> {
    const path = this.#places.pieces;
    try {
      const file = await open(path, 'wx', 0o644);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await syncDirectory(this.#places.directory);
    } catch (cause) {
      throw this.#failed(fileError(path, 'written', cause));
    }
  }

  /** The first failure counts: nothing is taken after it. */
  #failed(error: unknown): unknown {
    const named =
      error instanceof UserError && error.code === 'NO_SPACE'
        ? new UserError('NO_SPACE', error.message, {
            hint: 'Free space on the filesystem of the set, and make the backup again under the same name.',
            details: error.details,
            cause: error.cause,
          })
        : error;
    this.#failure ??= { error: named };
    return named;
  }

  async #end(): Promise<void> {
    this.#hasEnded = true;
    await this.#early.end();
    await this.#data.close();
  }
}
