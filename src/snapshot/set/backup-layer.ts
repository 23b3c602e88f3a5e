/** One backup of a chain, open for reading: its pieces, and their content, which is checked whenever it is read. */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { fileError, systemCode } from '../../device/device-errors.js';
import { UncheckedBytes } from '../../structure.js';
import type { BackupRecord } from './backup-file.js';
import type { GoodBackup } from './backup-set.js';
import { damagedPiece, lostFile } from './damage.js';
import { hashOfContent } from './piece-hash.js';
import type { PieceTable } from './piece-table.js';
import { decodePieces } from './pieces-file.js';
import type { BackupPlaces } from './places.js';

export class BackupLayer {
  private constructor(
    readonly places: BackupPlaces,
    readonly record: BackupRecord,
    readonly pieces: PieceTable,
    private readonly data: FileHandle,
  ) {}

  /** @throws UserError METADATA_DAMAGED, DATA_UNAVAILABLE (a file is not there). */
  static async open({ places, record }: GoodBackup): Promise<BackupLayer> {
    const bytes = await readFile(places.pieces).catch((error: unknown) => {
      throw notReadable(places.pieces, error);
    });
    const pieces = decodePieces(places.pieces, new UncheckedBytes(bytes, 0), record);
    const data = await open(places.data, 'r').catch((error: unknown) => {
      throw notReadable(places.data, error);
    });
    return new BackupLayer(places, record, pieces, data);
  }

  /** @throws UserError DATA_UNAVAILABLE where content was cut off. */
  async assertWhole(): Promise<void> {
    const lacking = this.record.dataBytes - (await this.data.stat()).size;
    if (lacking <= 0) return;
    const end = this.record.dataBytes - lacking;
    throw lostFile(this.places.data, `was cut short: it ends at offset ${end}, ${lacking} bytes are missing`);
  }

  /** The content of a piece that has some. @throws UserError DATA_UNAVAILABLE where it is not what was written. */
  async content(index: number): Promise<Uint8Array> {
    const { offset, length, content } = this.pieces.piece(index);
    if (typeof content === 'string') throw new Error(`piece ${index} of ${this.places.data} has no content`);
    const bytes = new Uint8Array(length);
    const place = { file: this.places.data, fileOffset: content.at, offset, length };
    const read = await this.#read(bytes, content.at).catch((error: unknown) => {
      if (systemCode(error) === undefined) throw error;
      throw damagedPiece(place, `cannot be read: ${String(error)}`, error);
    });
    if (read < length) throw damagedPiece(place, `is not there: the file ends at ${content.at + read}`);
    if (Buffer.compare(await hashOfContent(bytes), content.hash) !== 0)
      throw damagedPiece(place, 'is not what was written: its SHA-256 differs');
    return bytes;
  }

  close(): Promise<void> {
    return this.data.close();
  }

  /** How many bytes there were. */
  async #read(into: Uint8Array, position: number): Promise<number> {
    let done = 0;
    while (done < into.length) {
      const { bytesRead } = await this.data.read(into, done, into.length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
    return done;
  }
}

function notReadable(path: string, error: unknown): unknown {
  return systemCode(error) === 'ENOENT'
    ? lostFile(path, 'is not there', error)
    : fileError(path, 'read', error);
}
