/**
 * A secondary: it becomes like the volume, is away while the volume is written, and gets the blocks that differ and no others;
 * then it is promoted, and its primary knows.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Runner, sha256 } from './runner.js';

const BLOCK_BYTES = 4096;
/** What is written while the secondary is away: parts of two blocks, and of two more far from them. */
const WRITES = [100 * BLOCK_BYTES - 10, 2000 * BLOCK_BYTES - 10];
const PATCH = new Uint8Array(20).fill(0x5a);

interface Replicas {
  readonly replicas: readonly { readonly state: string; readonly dirtyBlocks: number }[];
}

export async function replicate(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('A secondary is kept like a volume, and an outage costs what was written in it');
  const second = join(runner.directory, 'second.img');
  const current = new Uint8Array(content);
  await runner.holdfast(['create', 'primary', '--size', '24MiB']);
  await runner.holdfast(['write', 'primary', '--input', 'ext4.img']);
  await runner.holdfast(['replica', 'add', 'primary', '--to', 'second.img', '--all-blocks']);
  await runner.holdfast(['replica', 'sync', 'primary']);
  await expectLike(runner, second, current, 'the secondary has every byte of it');
  await rename(second, `${second}.away`);
  runner.note('$ mv second.img second.img.away');
  for (const offset of WRITES) {
    await writeFile(join(runner.directory, 'patch.img'), PATCH);
    await runner.holdfast(['write', 'primary', '--offset', String(offset), '--input', 'patch.img']);
    current.set(PATCH, offset);
  }
  const { replicas } = await runner.result<Replicas>(['replica', 'status', 'primary'], [3]);
  const [away] = replicas;
  runner.check(
    'it is unsynchronized, and four blocks are dirty',
    away?.state === 'unsynchronized' && away.dirtyBlocks === 4,
    JSON.stringify(away),
  );
  await rename(`${second}.away`, second);
  runner.note('$ mv second.img.away second.img');
  const synced = await runner.result<{ copiedBlocks: number }>(['replica', 'sync', 'primary']);
  runner.check(
    'those four were copied, and nothing else',
    synced.copiedBlocks === 4,
    String(synced.copiedBlocks),
  );
  await expectLike(runner, second, current, 'it is like the volume again');
  await runner.holdfast(['replica', 'promote', 'second.img', '--yes']);
  await runner.holdfast(['write', 'primary', '--input', 'patch.img']);
  const after = await runner.result<Replicas>(['replica', 'status', 'primary'], [3]);
  runner.check(
    'promoted, it is written to no more',
    after.replicas[0]?.state === 'diverged',
    JSON.stringify(after),
  );
  await expectLike(runner, second, current, 'and holds what it held');
  await rm(`${second}.holdfast`, { recursive: true });
}

async function expectLike(runner: Runner, image: string, content: Uint8Array, what: string): Promise<void> {
  const found = (await readFile(image)).subarray(0, content.length);
  runner.check(what, sha256(found) === sha256(content), 'it has not');
}
