/**
 * Order per stripe, under any concurrency. A window is a fixed piece of the members' data areas, at most a
 * chunk high; whoever reads several members of a row to make something of them, or writes any, holds its
 * windows' locks meanwhile. Without that, a parity computed from what another write is changing would be
 * wrong for good.
 *
 * First come, first served: a writer that waits stops later readers, so that nobody starves. Several
 * windows are taken in ascending order, so that no two holders wait for each other.
 */

type Mode = 'shared' | 'exclusive';

interface Waiter {
  readonly mode: Mode;
  readonly grant: () => void;
}

interface Lock {
  /** How many share it; -1 when it is held exclusively. */
  holders: number;
  readonly queue: Waiter[];
}

export class WindowLocks {
  private readonly locks = new Map<number, Lock>();

  /** `windows` ascending and distinct. Resolves when all are held; `release` them in one call. */
  async acquire(windows: readonly number[], mode: Mode): Promise<void> {
    for (const window of windows) {
      const wait = this.acquireOne(window, mode);
      if (wait !== null) await wait;
    }
  }

  release(windows: readonly number[]): void {
    for (const window of windows) this.releaseOne(window);
  }

  private acquireOne(window: number, mode: Mode): Promise<void> | null {
    let lock = this.locks.get(window);
    if (lock === undefined) {
      lock = { holders: 0, queue: [] };
      this.locks.set(window, lock);
    }
    if (lock.queue.length === 0 && mayEnter(lock, mode)) {
      enter(lock, mode);
      return null;
    }
    const { queue } = lock;
    return new Promise((grant) => queue.push({ mode, grant }));
  }

  private releaseOne(window: number): void {
    const lock = this.locks.get(window);
    if (lock === undefined || lock.holders === 0) throw new Error(`window ${window} is not locked`);
    lock.holders = lock.holders < 0 ? 0 : lock.holders - 1;
    for (let next = lock.queue[0]; next !== undefined && mayEnter(lock, next.mode); next = lock.queue[0]) {
      lock.queue.shift();
      enter(lock, next.mode);
      next.grant();
    }
    if (lock.holders === 0 && lock.queue.length === 0) this.locks.delete(window);
  }
}

function mayEnter(lock: Lock, mode: Mode): boolean {
  return mode === 'exclusive' ? lock.holders === 0 : lock.holders >= 0;
}

function enter(lock: Lock, mode: Mode): void {
  lock.holders = mode === 'exclusive' ? -1 : lock.holders + 1;
}
