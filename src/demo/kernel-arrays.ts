/**
 * Arrays that the Linux kernel made (fixtures/md), opened, judged and read.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { packagePath } from '../package-root.js';
import { type Runner, sha256 } from './runner.js';

interface Case {
  readonly case: string;
  readonly what_happened: string;
  readonly expect: {
    readonly verdict: string;
    readonly content_sha256: string;
    readonly bad_rows?: readonly number[];
  };
}

/** What `status` says of each verdict, and its exit code. */
const STATES: Record<string, { state: string; exitCode: number }> = {
  clean: { state: 'clean', exitCode: 0 },
  degraded: { state: 'degraded', exitCode: 3 },
  rebuild: { state: 'degraded', exitCode: 3 },
  resync: { state: 'dirty', exitCode: 3 },
  'check-finds': { state: 'clean', exitCode: 0 },
};

const SHOWN = ['clean-left-symmetric', 'missing-one', 'dirty-bitmap', 'stale-member', 'bitrot-parity'];

export async function readKernelArrays(runner: Runner): Promise<void> {
  runner.title('Arrays that the Linux kernel made are opened, judged and read');
  for (const name of SHOWN) await readKernelArray(runner, name);
}

async function readKernelArray(runner: Runner, name: string): Promise<void> {
  const source = packagePath('fixtures', 'md', name);
  const { expect, what_happened } = JSON.parse(await readFile(join(source, 'case.json'), 'utf8')) as Case;
  const directory = join(runner.directory, name);
  await mkdir(directory);
  for (const file of await readdir(source)) {
    if (!file.endsWith('.img.gz')) continue;
    await writeFile(
      join(directory, file.slice(0, -'.gz'.length)),
      gunzipSync(await readFile(join(source, file))),
    );
  }
  runner.note(what_happened);
  const { state, exitCode } = STATES[expect.verdict]!;
  const status = await runner.result<{ state: string }>(['status', name], [exitCode]);
  runner.check(`it is ${state}`, status.state === state, status.state);
  const read = await runner.holdfast(['read', name, '--output', '-']);
  runner.check(
    'its content is what the kernel reads',
    sha256(read.stdout) === expect.content_sha256,
    sha256(read.stdout),
  );
  const rows = expect.bad_rows ?? [];
  if (rows.length === 0) return;
  const scrub = await runner.result<{ mismatchedRows: number[] }>(['scrub', name], [3]);
  runner.check(
    `the rows whose parity is wrong are found: ${rows.join(', ')}`,
    scrub.mismatchedRows.join() === rows.join(),
    scrub.mismatchedRows.join(),
  );
}
