/**
 * When buffers are written out though no commit asks for it (paragraph 46): when there is too much of them, whoever has
 * written last waits for it; when they are old, in the background.
 */
import type { Epoch } from './epoch.js';
import type { FileState } from './file-state.js';
import { writeOut } from './write-out.js';

/** After a write into this epoch. What cannot be written makes the file fail: it was acknowledged, or is to be. */
export async function settleMemory(state: FileState, epoch: Epoch): Promise<void> {
  const { memory } = state.context;
  if (memory.isOverLimit) await writeOutOrFail(state, epoch);
  else if (memory.dirtyBytes > 0) age(state);
}

async function writeOutOrFail(state: FileState, epoch: Epoch): Promise<void> {
  try {
    await writeOut(state, epoch);
  } catch (cause) {
    throw state.fail(cause);
  }
}

function age(state: FileState): void {
  if (state.isAging) return;
  state.isAging = true;
  const { clock, writeBehindAgeMs } = state.context.settings;
  clock
    .wait(writeBehindAgeMs, { isBackground: true })
    .then(() => {
      state.isAging = false;
      return state.failed === null && !state.isClosed ? writeOutOrFail(state, state.current) : undefined;
    })
    // Whoever writes or commits next is told.
    .catch(() => {});
}
