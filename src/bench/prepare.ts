/**
 * Preparing opens one thing after the other; what was opened is closed in the reverse order, when the bench is
 * over or when a later step fails.
 */
import { closeInOrder } from '../volume/stack.js';
import type { PreparedBench } from './bench.js';

type Step = () => Promise<unknown>;

/** Takes note of how to close what was just opened. */
export type Opened = (close: Step) => void;

/** `make` calls `opened` for each thing as soon as it is open. */
export async function prepareInSteps(
  make: (opened: Opened) => Promise<Omit<PreparedBench, 'close'>>,
): Promise<PreparedBench> {
  const steps: Step[] = [];
  const close = (): Promise<void> => closeInOrder(steps.splice(0).reverse());
  try {
    const made = await make((step) => void steps.push(step));
    return { ...made, close };
  } catch (error) {
    await close();
    throw error;
  }
}
