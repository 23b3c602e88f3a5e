/**
 * The power is cut in the middle of writes: what is left says which stripes are dirty, recovery makes just those right,
 * and every sector is what it was or what was being written. Then the same with a member lost.
 */
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Runner, sha256 } from './runner.js';

const SECTOR_BYTES = 512;
const MIB = 1024 * 1024;
/** What is being written when the power goes. */
const PATCH = { offset: 8 * MIB, length: 2 * MIB };
/** Amid its data. */
const AT_WRITE = 14;

interface Status {
  readonly state: string;
  readonly dirtyStripes: number;
  readonly inDoubt: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
}

/** `content` lies at the start of the volume, and does again when this ends; the volume is clean and whole. */
export async function cutPower(runner: Runner, content: Uint8Array): Promise<void> {
  const other = new Uint8Array(content);
  const patch = other.subarray(PATCH.offset, PATCH.offset + PATCH.length);
  for (const [at, byte] of patch.entries()) patch[at] = byte ^ 0xff;
  await writeFile(join(runner.directory, 'patch.img'), patch);
  await recoverFromCut(runner, content, other);
  await loseMemberToo(runner, content, other);
}

async function recoverFromCut(runner: Runner, content: Uint8Array, other: Uint8Array): Promise<void> {
  runner.title('The power is cut in the middle of writes');
  await cut(runner, 7);
  const status = await runner.result<Status>(['status', 'volume'], [3]);
  runner.check(
    `status says so: dirty, ${status.dirtyStripes} stripes of which parity may be wrong`,
    status.state === 'dirty' && status.dirtyStripes > 0 && status.dirtyStripes < 32,
    JSON.stringify(status),
  );
  const recovered = await runner.result<{ resyncedStripes: number }>(['recover', 'volume']);
  runner.check(
    'recover makes parity for these stripes, and for no others',
    recovered.resyncedStripes === status.dirtyStripes,
    JSON.stringify(recovered),
  );
  await expectMatching(runner);
  const bytes = await read(runner, content.length);
  const found = countSectors(bytes, content, other);
  runner.check(
    `every sector is whole: ${found.second} as they were being written, all others as they were`,
    found.neither === 0,
    JSON.stringify(found),
  );
  await runner.holdfast(['write', 'volume', '--input', 'ext4.img']);
}

async function loseMemberToo(runner: Runner, content: Uint8Array, other: Uint8Array): Promise<void> {
  runner.title('The power is cut, and a member is lost with it');
  await cut(runner, 8);
  const member = join(runner.directory, 'volume', 'member-3.img');
  await rename(member, join(runner.directory, 'lost-3.img'));
  runner.note('$ mv volume/member-3.img lost-3.img');
  const status = await runner.result<Status>(['status', 'volume'], [4]);
  const bytes = status.inDoubt.reduce((sum, range) => sum + range.lengthBytes, 0);
  runner.check(
    `status names what nobody can know: ${bytes} bytes in ${status.inDoubt.length} ranges`,
    status.state === 'dirty-degraded' && bytes > 0 && bytes <= PATCH.length,
    JSON.stringify(status),
  );
  await runner.holdfast(['recover', 'volume'], [1]);
  runner.note('(it is not started without --force)');
  await runner.holdfast(['recover', 'volume', '--force']);
  const first = status.inDoubt[0]!;
  const range = ['--offset', String(first.offsetBytes), '--length', '4096', '--output', 'doubt.img'];
  await runner.holdfast(['read', 'volume', ...range], [1]);
  runner.note('(what is in doubt is not made up: reading it fails)');
  await expectElsewhere(runner, status, content, other);
  await runner.holdfast(['write', 'volume', '--input', 'ext4.img']);
  const written = await runner.result<Status>(['status', 'volume'], [3]);
  runner.check(
    'written anew, nothing is in doubt any more',
    written.inDoubt.length === 0,
    JSON.stringify(written),
  );
  await runner.holdfast(['member', 'add', 'volume', '--slot', '3', '--image', 'volume/new-3.img']);
  await expectMatching(runner);
  runner.check(
    'the content is the same',
    sha256(await read(runner, content.length)) === sha256(content),
    'it is not',
  );
}

async function cut(runner: Runner, seed: number): Promise<void> {
  const command = ['write', 'volume', '--offset', String(PATCH.offset), '--input', 'patch.img', '--fua'];
  const where = ['--at-write', String(AT_WRITE), '--seed', String(seed)];
  await runner.holdfast(['crash', 'inject', ...where, '--', ...command], [75]);
}

/** All that is not in doubt reads, and is whole. */
async function expectElsewhere(
  runner: Runner,
  { inDoubt }: Status,
  content: Uint8Array,
  other: Uint8Array,
): Promise<void> {
  const last = inDoubt.at(-1)!;
  const from = last.offsetBytes + last.lengthBytes;
  const parts = [
    { start: 0, end: inDoubt[0]!.offsetBytes },
    { start: from, end: content.length },
  ];
  for (const { start, end } of parts) {
    if (start >= end) continue;
    const bytes = await read(runner, end - start, start);
    const found = countSectors(bytes, content.subarray(start, end), other.subarray(start, end));
    runner.check(
      `bytes ${start} to ${end}, which are not in doubt, are whole`,
      found.neither === 0 && bytes.length === end - start,
      JSON.stringify(found),
    );
  }
}

async function expectMatching(runner: Runner): Promise<void> {
  const { mismatchedRows } = await runner.result<{ mismatchedRows: readonly number[] }>(['scrub', 'volume']);
  runner.check('every parity matches its data', mismatchedRows.length === 0, String(mismatchedRows));
}

async function read(runner: Runner, length: number, offset = 0): Promise<Buffer> {
  const range = ['--offset', String(offset), '--length', String(length)];
  const run = await runner.holdfast(['read', 'volume', ...range, '--output', '-']);
  return run.stdout;
}

function countSectors(bytes: Uint8Array, first: Uint8Array, second: Uint8Array) {
  const counts = { first: 0, second: 0, neither: 0 };
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    const sector = bytes.subarray(at, at + SECTOR_BYTES);
    const isAs = (of: Uint8Array) => Buffer.compare(sector, of.subarray(at, at + SECTOR_BYTES)) === 0;
    if (isAs(first)) counts.first += 1;
    else if (isAs(second)) counts.second += 1;
    else counts.neither += 1;
  }
  return counts;
}
