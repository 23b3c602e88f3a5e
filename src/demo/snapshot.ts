/**
 * A snapshot, and the power cut amid writes over all that it holds: after recovery it holds what the volume held. What was changed since
 * a backup is known too: the next one takes that alone.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Runner, sha256 } from './runner.js';

/** Amid the data; the seed says what of it is lost. */
const CUT = ['--at-write', '9', '--seed', '3'];
const PATCH_BYTES = 40_960;

interface Made {
  readonly copiedBytes: number;
}

/** Of the volume that the story is about, as it is now; all of it is written anew. */
export async function keepMoments(runner: Runner, content: Uint8Array): Promise<void> {
  runner.title('A snapshot holds its moment, though the power goes amid writes over it');
  await runner.holdfast(['write', 'volume', '--input', 'ext4.img']);
  await runner.holdfast(['snapshot', 'create', 'volume', '--name', 'before']);
  await runner.holdfast(['crash', 'inject', ...CUT, '--', 'write', 'volume', '--input', 'other.img'], [75]);
  await runner.holdfast(['recover', 'volume']);
  await runner.holdfast(['read', 'volume', '--snapshot', 'before', '--output', 'before.img']);
  const held = (await readFile(join(runner.directory, 'before.img'))).subarray(0, content.length);
  runner.check('the snapshot has what the volume held', sha256(held) === sha256(content), 'it has not');
  await runner.holdfast(['snapshot', 'list', 'volume']);
  await runner.holdfast(['snapshot', 'delete', 'volume', '--name', 'before']);

  runner.title('The next backup takes what was changed, and nothing else');
  await runner.holdfast(['backup', 'create', 'volume', '--output', 'set/', '--name', 'second']);
  await writeFile(join(runner.directory, 'few.img'), new Uint8Array(PATCH_BYTES).fill(7));
  await runner.holdfast(['write', 'volume', '--offset', '4096', '--input', 'few.img']);
  const since = ['backup', 'create', 'volume', '--output', 'set/', '--name', 'third', '--since', 'second'];
  const { copiedBytes } = await runner.result<Made>(since);
  runner.check(`${PATCH_BYTES} bytes of it`, copiedBytes === PATCH_BYTES, String(copiedBytes));
}
