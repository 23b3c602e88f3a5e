/**
 * node record-place.mjs IMAGE SUPERBLOCK-AT: the dirty-stripe record that lies in a member's gap must lie behind the bitmap
 * and the bad-block log and end before the data, and the bitmap must be whole. Looks at bytes alone, not at holdfast's own
 * idea of places. Prints where things lie; ends with 1 when two overlap, or there is no record.
 */
import { closeSync, openSync, readSync } from 'node:fs';

const SECTOR = 512;
const BLOCK = 4096;
const [path, at] = process.argv.slice(2);
const file = openSync(path, 'r');
const bytes = (offset, length) => {
  const into = Buffer.alloc(length);
  readSync(file, into, 0, length, offset);
  return into;
};
const superAt = Number(at);
const superblock = bytes(superAt, BLOCK);
const dataAt = Number(superblock.readBigUInt64LE(128)) * SECTOR;
const taken = [{ name: 'superblock', start: superAt, end: superAt + BLOCK }];
const wrong = [];
if (superblock.readUInt32LE(0) !== 0xa92b4efc) wrong.push('no superblock');

const hasBitmap = (superblock.readUInt32LE(8) & 1) !== 0;
if (hasBitmap) {
  const start = superAt + superblock.readInt32LE(96) * SECTOR;
  const header = bytes(start, 256);
  if (header.toString('latin1', 0, 4) !== 'bitm') wrong.push('the bitmap is not whole');
  const chunks = Math.ceil((Number(header.readBigUInt64LE(40)) * SECTOR) / header.readUInt32LE(52));
  taken.push({ name: 'bitmap', start, end: start + 256 + Math.ceil(chunks / 8) });
}
const logSectors = superblock.readUInt16LE(186);
if (logSectors > 0) {
  const start = superAt + superblock.readInt32LE(188) * SECTOR;
  taken.push({ name: 'bad-block log', start, end: start + logSectors * SECTOR });
}
taken.push({ name: 'data', start: dataAt, end: Number.MAX_SAFE_INTEGER });

// The newest that is whole enough to be told: one of an older place may have been overwritten.
let newest = null;
for (let offset = 0; offset < dataAt; offset += BLOCK) {
  const header = bytes(offset, SECTOR);
  const isOurs =
    header.toString('latin1', 0, 4) === 'hfds' && header.subarray(8, 24).equals(superblock.subarray(16, 32));
  const generation = header.readBigUInt64LE(24);
  if (isOurs && (newest === null || generation > newest.generation)) {
    newest = { name: 'record', generation, start: offset, end: offset + header.readUInt32LE(60) };
  }
}
closeSync(file);
if (newest === null) wrong.push('no record');
else {
  for (const { name, start, end } of taken) {
    if (newest.start < end && start < newest.end) wrong.push(`the record overlaps the ${name}`);
  }
  taken.splice(-1, 0, newest);
}
const places = taken.map(({ name, start, end }) => `${name} ${start}${name === 'data' ? '' : `-${end}`}`);
process.stdout.write(`${[...wrong, ...places].join(', ')}\n`);
process.exitCode = wrong.length === 0 ? 0 : 1;
