/**
 * The demo: a RAID-5 volume on image files is made, filled with a real ext4 image, loses a member, is read all
 * the same, gets the member back on another image, has a parity rot and be repaired, has its power cut amid writes, and
 * holds what it held. Then files whose writes are all there or not at all, whenever the power goes; and a
 * secondary that is away, comes back, and is promoted. Last a backup that is taken while all is overwritten, and
 * a snapshot that outlives a power cut, and a program whose forgotten flush the crash lab finds.
 */
import { open, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { packagePath } from '../package-root.js';
import { backUp } from './backup.js';
import { journalFiles } from './files.js';
import { readKernelArrays } from './kernel-arrays.js';
import { findForgottenFlush } from './lab.js';
import { cutPower } from './power-cut.js';
import { replicate } from './replica.js';
import { type DemoContext, Runner, sha256 } from './runner.js';
import { keepMoments } from './snapshot.js';

const CHUNK_BYTES = 64 * 1024;
const ROW_BYTES = 4096;

interface Status {
  readonly state: string;
  readonly sizeBytes: number;
  readonly members: readonly { slot: number | null; image: string | null; state: string }[];
  readonly raid: { readonly dataOffsetBytes: number; readonly layout: string };
}

interface Scrub {
  readonly mismatchedRows: readonly number[];
  readonly repairedStripes: number;
}

/** Returns how many checks passed; throws at the first that does not. */
export async function tellStory(context: DemoContext): Promise<number> {
  const runner = new Runner(context);
  const content = gunzipSync(await readFile(packagePath('fixtures', 'demo', 'ext4.img.gz')));
  await writeFile(join(context.directory, 'ext4.img'), content);
  await makeAndFill(runner, content);
  await loseMember(runner, content);
  await rebuildMember(runner, content);
  await rotParity(runner, content);
  await cutPower(runner, content);
  await checkFilesystem(runner, content);
  await journalFiles(runner, content);
  await replicate(runner, content);
  await backUp(runner, content);
  await keepMoments(runner, content);
  await findForgottenFlush(runner);
  await readKernelArrays(runner);
  return runner.passed;
}

async function makeAndFill(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('A RAID-5 volume of four image files, in the format of Linux md');
  await runner.holdfast([
    'create',
    'volume',
    '--members',
    '4',
    '--size',
    '24MiB',
    '--chunk',
    '64KiB',
    '--name',
    'demo',
  ]);
  const made = await runner.result<Status>(['status', 'volume']);
  runner.check('it is clean, and four members are in sync', isWhole(made), JSON.stringify(made.members));
  const examined = await runner.tool('mdadm', ['--examine', 'volume/member-0.img']);
  if (examined === null) runner.note('(mdadm is not installed: its view of the members is not shown)');
  else
    runner.check(
      'mdadm accepts its superblock',
      examined.exitCode === 0 && /raid5/.test(examined.stdout.toString()),
      examined.stderr,
    );
  runner.title('It is filled with a real ext4 filesystem');
  await runner.holdfast(['write', 'volume', '--input', 'ext4.img']);
  await expectContent(runner, content, 'what is read back is what was written');
}

async function loseMember(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('A member is lost');
  await rename(join(runner.directory, 'volume', 'member-1.img'), join(runner.directory, 'lost.img'));
  runner.note('$ mv volume/member-1.img lost.img');
  const status = await runner.result<Status>(['status', 'volume'], [3]);
  runner.check(
    'status says so: degraded, slot 1 is missing',
    status.state === 'degraded' && stateOf(status, 1) === 'missing',
    JSON.stringify(status.members),
  );
  await expectContent(runner, content, 'everything is still read, made from the other three');
}

async function rebuildMember(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('It is replaced, and rebuilt from the others');
  await runner.holdfast(['member', 'add', 'volume', '--slot', '1', '--image', 'volume/new.img']);
  const status = await runner.result<Status>(['status', 'volume']);
  runner.check('it is clean, and four members are in sync', isWhole(status), JSON.stringify(status.members));
  const scrubbed = await runner.result<Scrub>(['scrub', 'volume']);
  runner.check(
    'every parity matches its data',
    scrubbed.mismatchedRows.length === 0,
    JSON.stringify(scrubbed),
  );
  await expectContent(runner, content, 'the content is the same');
}

async function rotParity(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('A bit rots in the parity of one stripe');
  const { raid } = await runner.result<Status>(['status', 'volume']);
  // Left-symmetric, four members: stripe 5 has its parity in slot 2.
  const offset = raid.dataOffsetBytes + 5 * CHUNK_BYTES + 8192;
  await flipBit(join(runner.directory, 'volume', 'member-2.img'), offset);
  runner.note(`(bit 0 of byte ${offset} of volume/member-2.img is flipped)`);
  const found = await runner.result<Scrub>(['scrub', 'volume'], [3]);
  const row = (5 * CHUNK_BYTES + 8192) / ROW_BYTES;
  runner.check(
    `scrub finds it: row ${row}, and no other`,
    found.mismatchedRows.join() === String(row),
    JSON.stringify(found),
  );
  const repaired = await runner.result<Scrub>(['scrub', 'volume', '--repair']);
  runner.check(
    'scrub --repair makes one stripe right',
    repaired.repairedStripes === 1,
    JSON.stringify(repaired),
  );
  const again = await runner.result<Scrub>(['scrub', 'volume']);
  runner.check('and finds nothing any more', again.mismatchedRows.length === 0, JSON.stringify(again));
  await expectContent(runner, content, 'the content is the same');
}

async function checkFilesystem(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('The filesystem is whole');
  await runner.holdfast(['read', 'volume', '--length', String(content.length), '--output', 'after.img']);
  const fsck = await runner.tool('e2fsck', ['-fn', 'after.img']);
  if (fsck === null)
    runner.note('(e2fsck is not installed: the filesystem was compared byte for byte alone)');
  else runner.check('e2fsck finds nothing wrong', fsck.exitCode === 0, fsck.stdout.toString());
  const after = await readFile(join(runner.directory, 'after.img'));
  runner.check(
    'it is byte for byte the one that was written',
    sha256(after) === sha256(content),
    sha256(after),
  );
}

async function expectContent(runner: Runner, content: Uint8Array, what: string): Promise<void> {
  const run = await runner.holdfast(['read', 'volume', '--length', String(content.length), '--output', '-']);
  runner.check(
    what,
    sha256(run.stdout) === sha256(content),
    `${run.stdout.length} bytes, sha256 ${sha256(run.stdout)}`,
  );
}

async function flipBit(path: string, offset: number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const byte = new Uint8Array(1);
    await file.read(byte, 0, 1, offset);
    byte[0]! ^= 1;
    await file.write(byte, 0, 1, offset);
    await file.sync();
  } finally {
    await file.close();
  }
}

function isWhole(status: Status): boolean {
  return status.state === 'clean' && [0, 1, 2, 3].every((slot) => stateOf(status, slot) === 'in-sync');
}

function stateOf(status: Status, slot: number): string | undefined {
  return status.members.find((member) => member.slot === slot)?.state;
}
