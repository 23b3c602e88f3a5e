/**
 * Closes what was opened, whatever became of its use. What went wrong first is what the user must hear: what closing
 * throws after it is told as a warning.
 */
import { UserError } from '../errors.js';

type Warn = (message: string) => void;

/** A volume, for what is asked of it here. */
interface Closed {
  readonly label: string;
  close(): Promise<void>;
}

/** Runs `use` and closes the volume, so that it is clean again if it can be. */
export async function thenClose<R>(volume: Closed, warn: Warn, use: () => R | Promise<R>): Promise<R> {
  let result: R;
  try {
    result = await use();
  } catch (error) {
    await closeFailed(volume.label, () => volume.close(), warn);
    throw error;
  }
  await volume.close();
  return result;
}

/** Never rejects: an error is about to be thrown already. */
export async function closeFailed(label: string, close: () => Promise<void>, warn: Warn): Promise<void> {
  await close().catch((closing: unknown) => {
    const why = closing instanceof UserError ? closing.message : String(closing);
    warn(`${label} could not be closed well: ${why}`);
  });
}
