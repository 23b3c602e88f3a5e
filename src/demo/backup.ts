/**
 * A backup that is taken while the volume is written: all of the volume is overwritten while it runs, and the backup has what was
 * there before. In a backup set it is verified, and restored; where nothing differs nothing is written.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { type Runner, sha256 } from './runner.js';

interface Restored {
  readonly writtenBytes: number;
}

interface Running {
  readonly backup: { readonly phase: string } | null;
}

/** Of the volume that the story is about, as it is now. */
export async function backUp(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('A backup is taken while all of the volume is overwritten');
  const other = Uint8Array.from(content, (byte) => byte ^ 0xff);
  await writeFile(join(runner.directory, 'other.img'), other);
  await runner.served('volume', async () => {
    const create = ['backup', 'create', 'volume', '--output', 'moment.img', '--rate', '4MiB', '--all-blocks'];
    const backup = runner.result<{ containerBytes: number }>(create);
    await Promise.race([begun(runner), backup]);
    await runner.holdfast(['write', 'volume', '--input', 'other.img']);
    const { containerBytes } = await backup;
    runner.check(
      'what was overwritten first went through the container',
      containerBytes > 0,
      String(containerBytes),
    );
  });
  await expectBytes(runner, 'moment.img', content, 'the backup has what the volume held before');
  await runner.holdfast(['read', 'volume', '--length', String(other.length), '--output', 'now.img']);
  await expectBytes(runner, 'now.img', other, 'and the volume what was written since');

  runner.title('A backup set is verified, and restored by what differs');
  await runner.holdfast(['backup', 'create', 'volume', '--output', 'set/', '--name', 'first']);
  await runner.holdfast(['backup', 'verify', 'set']);
  await runner.holdfast(['write', 'volume', '--input', 'ext4.img']);
  const back = ['backup', 'restore', 'set', '--name', 'first', '--to', 'volume', '--yes'];
  const first = await runner.result<Restored>(back);
  runner.check('what differed was written', first.writtenBytes > 0, String(first.writtenBytes));
  const again = await runner.result<Restored>(back);
  runner.check('and the second time nothing', again.writtenBytes === 0, String(again.writtenBytes));
  await runner.holdfast(['read', 'volume', '--length', String(other.length), '--output', 'now.img']);
  await expectBytes(runner, 'now.img', other, 'it holds what it held');
}

async function begun(runner: Runner): Promise<void> {
  for (;;) {
    const { backup } = await runner.result<Running>(['backup', 'status', 'volume']);
    if (backup?.phase === 'copying') return;
    await wait(50);
  }
}

async function expectBytes(runner: Runner, name: string, content: Uint8Array, what: string): Promise<void> {
  const found = (await readFile(join(runner.directory, name))).subarray(0, content.length);
  runner.check(what, sha256(found) === sha256(content), 'it has not');
}
