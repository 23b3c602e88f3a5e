/**
 * What all connections of a server together may hold in memory for data of requests. Each takes from it before
 * it makes a buffer for a reply or lets a payload in, and gives back when the kernel, or the device, has it.
 *
 * - An account that holds nothing always gets what it asks for: a peer that stops reading keeps what it holds,
 *   and however many such peers there are, none of the others stands still. So the bound is the budget and one
 *   piece for each connection.
 * - Otherwise it is first come, first served, within what one account may hold.
 */

interface Waiter {
  readonly account: Account;
  readonly bytes: number;
  readonly resolve: () => void;
}

export class MemoryBudget {
  readonly #waiters: Waiter[] = [];
  #used = 0;

  constructor(
    /** Bytes of all accounts together. */
    private readonly totalBytes: number,
    /** Bytes of one account. */
    private readonly accountBytes: number,
  ) {}

  get usedBytes(): number {
    return this.#used;
  }

  account(): Account {
    return new Account(this);
  }

  /** Takes `bytes` for the account now, or does nothing and answers false. */
  tryTake(account: Account, bytes: number): boolean {
    if (account.heldBytes > 0 && (this.#waiters.length > 0 || !this.#hasRoom(account, bytes))) return false;
    this.#take(account, bytes);
    return true;
  }

  wait(account: Account, bytes: number): Promise<void> {
    return new Promise((resolve) => this.#waiters.push({ account, bytes, resolve }));
  }

  give(account: Account, bytes: number): void {
    account.heldBytes -= bytes;
    this.#used -= bytes;
    if (this.#waiters.length > 0) this.#serve();
  }

  #hasRoom(account: Account, bytes: number): boolean {
    return account.heldBytes + bytes <= this.accountBytes && this.#used + bytes <= this.totalBytes;
  }

  #take(account: Account, bytes: number): void {
    account.heldBytes += bytes;
    this.#used += bytes;
  }

  /**
   * Those whose own account is full are passed over, because they wait for themselves; one that the budget has no
   * room for is not, but for accounts that hold nothing, or large pieces would never have their turn.
   */
  #serve(): void {
    let isFull = false;
    for (let i = 0; i < this.#waiters.length; ) {
      const { account, bytes, resolve } = this.#waiters[i]!;
      isFull ||= this.#used + bytes > this.totalBytes;
      if (account.heldBytes === 0 || (!isFull && this.#hasRoom(account, bytes))) {
        this.#waiters.splice(i, 1);
        this.#take(account, bytes);
        resolve();
      } else i += 1;
    }
  }
}

/** Of one connection. */
export class Account {
  /** Bytes; the budget's to change. */
  heldBytes = 0;

  constructor(private readonly budget: MemoryBudget) {}

  tryTake(bytes: number): boolean {
    return this.budget.tryTake(this, bytes);
  }

  async take(bytes: number): Promise<void> {
    if (!this.budget.tryTake(this, bytes)) await this.budget.wait(this, bytes);
  }

  give(bytes: number): void {
    this.budget.give(this, bytes);
  }
}
