/** Journals inside of images of ext filesystems: where their blocks lie, and changes to them that keep checksums right. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { crc32c } from '@node-rs/crc32';
import { judge, PATH_OF_E2FSPROGS } from './e2fsprogs.js';

const SUPERBLOCK_CHECKSUM_AT = 252;

/** Which block of the filesystem each of the journal is, up to this number of them. */
export function journalPlaces(image: string, blocks: number): number[] {
  const text = execFileSync('debugfs', ['-f', '-', image], {
    env: { ...process.env, PATH: PATH_OF_E2FSPROGS },
    input: Array.from({ length: blocks }, (_, i) => `bmap <8> ${i}\n`).join(''),
    encoding: 'utf8',
    stdio: ['pipe', 'pipe', 'ignore'],
    maxBuffer: 2 ** 26,
  });
  return text
    .split('\n')
    .filter((line) => /^\d+$/.test(line))
    .map(Number);
}

/** The superblock of a journal, sealed anew where it has a checksum. */
export function sealJournal(superblock: Buffer): void {
  if ((superblock.readUInt32BE(40) & 0x18) === 0) return;
  superblock.writeUInt32BE(0, SUPERBLOCK_CHECKSUM_AT);
  superblock.writeUInt32BE(~crc32c(superblock.subarray(0, 1024)) >>> 0, SUPERBLOCK_CHECKSUM_AT);
}

/** Writes `to`: the same log, so that it begins ten blocks before the end of the journal and goes on at its beginning. */
export function turnLog(from: string, to: string): void {
  const { blockBytes } = judge(from);
  const bytes = readFileSync(from);
  const [at] = journalPlaces(from, 1) as [number];
  const superblock = bytes.subarray(at * blockBytes, at * blockBytes + 1024);
  const blocks = superblock.readUInt32BE(16);
  const first = superblock.readUInt32BE(20);
  const start = superblock.readUInt32BE(28);
  const log = journalPlaces(from, blocks);
  const content = log.map((block) =>
    Buffer.from(bytes.subarray(block * blockBytes, (block + 1) * blockBytes)),
  );
  const length = blocks - first;
  const turn = blocks - 10 - start;
  for (let i = 0; i < length; i++) {
    content[first + i]!.copy(bytes, log[first + ((i + turn) % length)]! * blockBytes);
  }
  superblock.writeUInt32BE(blocks - 10, 28);
  sealJournal(superblock);
  writeFileSync(to, bytes);
}
