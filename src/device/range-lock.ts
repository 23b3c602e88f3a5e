/**
 * The order of requests that touch the same bytes. NBD lets requests in flight overlap in any way, and so do files on
 * extents; a block device calls that undefined. So whoever overlaps waits for those that came before it, whichever
 * connection they came from; readers share. Requests that do not overlap never wait for each other.
 *
 * Invariants
 * - First come, first served: a claim waits for exactly those conflicting claims that were there before it,
 *   whether they have begun or wait themselves. So nobody starves, and there are no circles to wait in.
 * - A claim is held while a device works and never while a client is waited for: one that stalls holds up
 *   nobody.
 *
 * Claims are found by the buckets that they touch, so that hundreds in flight cost no more than a few.
 */

const BUCKET_BYTES = 1024 * 1024;
/** A claim over more buckets is looked at by everybody instead. */
const MAX_BUCKETS = 4;

export class Claim {
  /** How many of those that came before are still there. */
  blockers = 0;
  followers: Claim[] | null = null;
  wake: (() => void) | null = null;

  constructor(
    readonly start: number,
    /** Excluded. */
    readonly end: number,
    readonly exclusive: boolean,
  ) {}

  get blocked(): boolean {
    return this.blockers > 0;
  }

  /** Ends when it is this claim's turn. Only for a claim that is blocked, once. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  conflictsWith(other: Claim): boolean {
    return this.start < other.end && other.start < this.end && (this.exclusive || other.exclusive);
  }
}

export class RangeLock {
  readonly #buckets = new Map<number, Claim[]>();
  readonly #wide: Claim[] = [];

  /** Whether a claim on [start, end) would not have to wait: who is done before anybody else is called needs none. */
  isFree(start: number, end: number, exclusive: boolean): boolean {
    if (this.#buckets.size === 0 && this.#wide.length === 0) return true;
    const claim = new Claim(start, end, exclusive);
    if (this.#wide.some((other) => claim.conflictsWith(other))) return false;
    const last = Math.floor((end - 1) / BUCKET_BYTES);
    for (let bucket = Math.floor(start / BUCKET_BYTES); bucket <= last; bucket++) {
      if (this.#buckets.get(bucket)?.some((other) => claim.conflictsWith(other)) === true) return false;
    }
    return true;
  }

  /** Claims [start, end), which is not empty. Whoever gets a claim that is blocked waits for its turn. */
  enter(start: number, end: number, exclusive: boolean): Claim {
    const claim = new Claim(start, end, exclusive);
    const first = Math.floor(start / BUCKET_BYTES);
    const last = Math.floor((end - 1) / BUCKET_BYTES);
    follow(claim, this.#wide);
    if (last - first >= MAX_BUCKETS) {
      for (const claims of this.#buckets.values()) follow(claim, claims);
      this.#wide.push(claim);
      return claim;
    }
    for (let bucket = first; bucket <= last; bucket++) {
      const claims = this.#buckets.get(bucket);
      if (claims === undefined) {
        this.#buckets.set(bucket, [claim]);
        continue;
      }
      follow(claim, claims);
      claims.push(claim);
    }
    return claim;
  }

  /** Gives the claim up: those that waited for nobody else have their turn. */
  leave(claim: Claim): void {
    const first = Math.floor(claim.start / BUCKET_BYTES);
    const last = Math.floor((claim.end - 1) / BUCKET_BYTES);
    if (last - first >= MAX_BUCKETS) remove(this.#wide, claim);
    else {
      for (let bucket = first; bucket <= last; bucket++) {
        const claims = this.#buckets.get(bucket)!;
        if (claims.length === 1) this.#buckets.delete(bucket);
        else remove(claims, claim);
      }
    }
    if (claim.followers === null) return;
    for (const follower of claim.followers) {
      follower.blockers -= 1;
      if (follower.blockers === 0) follower.wake?.();
    }
  }
}

/** A claim that shares several buckets with another waits for it that many times over; that does no harm. */
function follow(claim: Claim, earlier: readonly Claim[]): void {
  for (const other of earlier) {
    if (!claim.conflictsWith(other)) continue;
    claim.blockers += 1;
    other.followers ??= [];
    other.followers.push(claim);
  }
}

/** Their order does not matter: who waits for whom was settled on entering. */
function remove(claims: Claim[], claim: Claim): void {
  const last = claims.pop()!;
  if (last !== claim) claims[claims.indexOf(claim)] = last;
}
