/**
 * Files on extents: one comes in without being written twice, a snapshot of it is one metadata write, and when the power
 * is cut in the middle of a write, at moment after moment, the file holds all of it or nothing.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Runner, sha256 } from './runner.js';

const MIB = 1024 * 1024;
/** What is being written when the power goes: part of many extents. */
const PATCH = { offset: MIB + 100_000, length: 3 * MIB };
/** Amid the journal's data, the record of the commit, the copies, and the map. */
const CUTS = [10, 30, 46, 54, 62, 70];

interface Written {
  readonly journal: {
    readonly writtenBlocks: number;
    readonly copiedBlocks: number;
    readonly copiedHomeBlocks: number;
  };
}

export async function journalFiles(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('Files on extents: a commit is all or nothing');
  await runner.holdfast(['create', 'files', '--format', 'extents', '--size', '64MiB', '--extent', '384KiB']);
  const { journal } = await runner.result<Written>([
    'file',
    'import',
    'files',
    'disk',
    '--input',
    'ext4.img',
  ]);
  runner.check(
    'it came in through the journal, and nothing was written twice',
    journal.writtenBlocks > 0 && journal.copiedBlocks + journal.copiedHomeBlocks === 0,
    JSON.stringify(journal),
  );
  await runner.holdfast(['file', 'snapshot', 'files', 'disk', '--as', 'before']);
  await cutOften(runner, content);
  runner.check(
    'the snapshot holds what the file was before all that',
    (await read(runner, 'before')) === sha256(content),
    'it does not',
  );
  const { findings } = await runner.result<{ findings: unknown[] }>(['fsck', 'files', '-n']);
  runner.check('fsck finds nothing', findings.length === 0, JSON.stringify(findings));
}

/** Each cut leaves the old content or the new one; which of them it is going to be nobody can say. */
async function cutOften(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('The power is cut while a file is written, at moment after moment');
  let [old, next] = [content, flipped(content)];
  for (const at of CUTS) {
    await writeFile(
      join(runner.directory, 'patch.img'),
      next.subarray(PATCH.offset, PATCH.offset + PATCH.length),
    );
    const write = [
      'file',
      'write',
      'files',
      'disk',
      '--offset',
      String(PATCH.offset),
      '--input',
      'patch.img',
    ];
    // One that has fewer writes than that ends well.
    await runner.holdfast(
      ['crash', 'inject', '--at-write', String(at), '--seed', '7', '--', ...write],
      [75, 1],
    );
    await runner.holdfast(['recover', 'files']);
    const found = await read(runner, 'disk');
    const isNew = found === sha256(next);
    runner.check(
      `write ${at}: the file is all ${isNew ? 'new' : 'old'}`,
      isNew || found === sha256(old),
      'it is a mixture',
    );
    if (isNew) [old, next] = [next, old];
  }
}

function flipped(content: Uint8Array): Uint8Array {
  const other = new Uint8Array(content);
  for (let at = PATCH.offset; at < PATCH.offset + PATCH.length; at++) other[at] = content[at]! ^ 0xff;
  return other;
}

async function read(runner: Runner, name: string): Promise<string> {
  const { stdout } = await runner.holdfast(['file', 'read', 'files', name, '--output', '-']);
  return sha256(stdout);
}
