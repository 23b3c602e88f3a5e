/** What docs/crash-lab.md shows does what it says: the bug is found, and its mend holds. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ok, runHoldfast } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const PAGE = new URL('../../docs/crash-lab.md', import.meta.url);

it('a bug in five minutes, and its mend', async () => {
  const page = await readFile(PAGE, 'utf8');
  const section = page.slice(page.indexOf('## A bug in five minutes'));
  const [store, check, commands] = [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, text]) => text!);
  const folder = await temporaryFolder();
  await writeFile(join(folder, 'store.sh'), store!);
  await writeFile(join(folder, 'check.sh'), check!);
  const [record, explore] = commands!.trim().split('\n');
  expect(record).toBe("holdfast crash record store.img --size 1MiB --trace store.trace -- 'sh store.sh'");
  expect(explore).toBe("holdfast crash explore store.trace --check 'sh check.sh' --profile atomic-write");
  const run = async (name: string) => {
    const recording = ['--size', '1MiB', '--trace', `${name}.trace`, '--', 'sh store.sh'];
    expect(
      (await runHoldfast(['crash', 'record', `${name}.img`, ...recording], { cwd: folder })).exitCode,
    ).toBe(0);
    const flags = ['--check', 'sh check.sh', '--profile', 'atomic-write', '--failures', 'found'];
    return runHoldfast(['crash', 'explore', `${name}.trace`, ...flags], { cwd: folder });
  };
  const found = await run('store');
  expect([found.exitCode, found.stdout]).toEqual([4, expect.stringMatching(/value \d is not there/)]);
  await ok(
    ...['crash', 'replay', join(folder, 'store.trace')],
    ...['--failure', join(folder, 'found/check-exit-3.json'), '--output', join(folder, 'failing.img')],
  );
  const mended = store!.replace('-c "write -q -P $n 0 512"', '-c flush $&');
  expect(mended).not.toBe(store);
  await writeFile(join(folder, 'store.sh'), mended);
  const good = await run('mended');
  expect([good.exitCode, good.stderr]).toEqual([0, '']);
  expect(good.stdout).toContain('exhaustive');
});
