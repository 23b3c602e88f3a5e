/**
 * The list of a backup's pieces as a file: a header, then the pieces in the order in which they lie in the volume. It is
 * written once, when all content is, and never after.
 */
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { crc32c } from '@node-rs/crc32';
import { UserError } from '../../errors.js';
import type { UncheckedBytes } from '../../structure.js';
import type { BackupRecord } from './backup-file.js';
import { damagedFile } from './damage.js';
import { BACKUP_PIECE, BACKUP_PIECES, PIECE_KINDS, PIECES_MAGIC, PIECES_VERSION } from './fields.js';
import { PieceTable } from './piece-table.js';

/** What a reader holds at once is bounded by it. */
export const MOST_CHUNK_BYTES = 16 * 1024 * 1024;

const PIECES_A_TURN = 4096;

export type PiecesOwner = Pick<BackupRecord, 'setUuid' | 'id' | 'sizeBytes' | 'dataBytes'>;

/**
 * A million of them take a second: whoever is served meanwhile has their turns in between.
 *
 * @throws Error where two of them overlap: whoever put them has put a byte twice.
 */
export async function encodePieces(
  table: PieceTable,
  owner: PiecesOwner,
  chunkBytes: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(BACKUP_PIECES.sizeBytes + table.count * BACKUP_PIECE.sizeBytes);
  const header = BACKUP_PIECES.at(bytes);
  header.setNumber('magic', PIECES_MAGIC);
  header.setNumber('version', PIECES_VERSION);
  header.setBytes('set_uuid', Buffer.from(owner.setUuid, 'hex'));
  header.setBytes('backup_id', Buffer.from(owner.id, 'hex'));
  header.setBig('size', BigInt(owner.sizeBytes));
  header.setBig('data_bytes', BigInt(owner.dataBytes));
  header.setBig('pieces', BigInt(table.count));
  header.setNumber('chunk', chunkBytes);
  let at: number = BACKUP_PIECES.sizeBytes;
  let end = 0;
  for (const [n, index] of table.inOrder().entries()) {
    if (n % PIECES_A_TURN === 0) await setImmediate();
    if (table.start(index) < end) throw new Error(`byte ${table.start(index)} was put into the backup twice`);
    end = table.end(index);
    encodePiece(bytes, at, table, index);
    at += BACKUP_PIECE.sizeBytes;
  }
  header.setNumber('checksum', checksumOf(bytes));
  return bytes;
}

/** As `backup.json` has it. */
export function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/**
 * The pieces of the backup whose record this is.
 *
 * @throws UserError METADATA_DAMAGED; UNSUPPORTED (a later holdfast made it).
 */
export function decodePieces(path: string, { bytes }: UncheckedBytes, record: BackupRecord): PieceTable {
  if (bytes.length < BACKUP_PIECES.sizeBytes) throw damagedFile(path, `it ends at byte ${bytes.length}`);
  const header = BACKUP_PIECES.at(bytes);
  if (header.number('magic') !== PIECES_MAGIC) throw damagedFile(path, 'it has no pieces of a backup');
  if (header.number('checksum') !== checksumOf(bytes)) throw damagedFile(path, 'its checksum is wrong');
  refuseLater(path, header.number('version'), header.number('incompat'));
  if (hashOf(bytes) !== record.piecesHash)
    throw damagedFile(path, 'it is not the one that backup.json names');
  const count = Number(header.big('pieces'));
  const isOwn =
    sameBytes(header.bytes('set_uuid'), record.setUuid) && sameBytes(header.bytes('backup_id'), record.id);
  const isWhole = bytes.length === BACKUP_PIECES.sizeBytes + count * BACKUP_PIECE.sizeBytes;
  const fits =
    header.big('size') === BigInt(record.sizeBytes) && header.big('data_bytes') === BigInt(record.dataBytes);
  if (!isOwn || !isWhole || !fits) throw damagedFile(path, 'it is of another backup');
  const chunkBytes = header.number('chunk');
  if (chunkBytes > MOST_CHUNK_BYTES) throw damagedFile(path, `its pieces have up to ${chunkBytes} bytes`);
  const table = new PieceTable(count);
  for (let index = 0; index < count; index++) addPiece(path, table, bytes, record, chunkBytes);
  return table;
}

function encodePiece(bytes: Uint8Array, at: number, table: PieceTable, index: number): void {
  const { offset, length, content } = table.piece(index);
  const entry = BACKUP_PIECE.at(bytes, at);
  entry.setBig('offset', BigInt(offset));
  entry.setBig('length', BigInt(length));
  entry.setNumber('kind', PIECE_KINDS[typeof content === 'string' ? content : 'data']);
  if (typeof content === 'string') return;
  entry.setBig('data_offset', BigInt(content.at));
  entry.setBytes('hash', content.hash);
}

/** Checksums tell of damage, and not of a fault of whoever wrote it: what is not within its bounds is not used. */
function addPiece(
  path: string,
  table: PieceTable,
  bytes: Uint8Array,
  { sizeBytes, dataBytes }: BackupRecord,
  chunkBytes: number,
): void {
  const index = table.count;
  const at = BACKUP_PIECES.sizeBytes + index * BACKUP_PIECE.sizeBytes;
  const entry = BACKUP_PIECE.at(bytes, at);
  const kind = entry.number('kind');
  const offset = Number(entry.big('offset'));
  const length = Number(entry.big('length'));
  const dataOffset = Number(entry.big('data_offset'));
  const follows = index === 0 || offset >= table.end(index - 1);
  const isWithin = length > 0 && offset + length <= sizeBytes;
  const hasContent = length <= chunkBytes && dataOffset + length <= dataBytes;
  const isKnown = kind === PIECE_KINDS.zeroes || kind === PIECE_KINDS.unused;
  if (!follows || !isWithin || (kind === PIECE_KINDS.data ? !hasContent : !isKnown))
    throw damagedFile(path, `the piece at byte ${at} cannot be: ${length} bytes at offset ${offset}`);
  const without = kind === PIECE_KINDS.unused ? 'unused' : 'zeroes';
  const content = kind === PIECE_KINDS.data ? { at: dataOffset, hash: entry.bytes('hash') } : without;
  table.add({ offset, length, content });
}

function refuseLater(path: string, version: number, incompat: number): void {
  if (version === PIECES_VERSION && incompat === 0) return;
  const what = version === PIECES_VERSION ? `incompat 0x${incompat.toString(16)}` : `version ${version}`;
  throw new UserError('UNSUPPORTED', `${path} is of a later holdfast: ${what}`, {
    hint: 'Use the holdfast that made it.',
    details: { file: path },
  });
}

function sameBytes(bytes: Uint8Array, hex: string): boolean {
  return Buffer.from(bytes).toString('hex') === hex;
}

const CHECKSUM_AT = BACKUP_PIECES.offsetOf('checksum');

function checksumOf(bytes: Uint8Array): number {
  const before = crc32c(bytes.subarray(0, CHECKSUM_AT));
  const without = crc32c(new Uint8Array(4), before);
  return crc32c(bytes.subarray(CHECKSUM_AT + 4), without);
}
