/** What a check of the metadata finds, and what its parts share: which extents were seen in use. */
import type { Config, State } from './state.js';

export type StateFindingCode =
  /** Taken, and in neither a map nor a journal: room that nobody can use. */
  | 'EXTENT_LEAKED'
  /** In two places. */
  | 'EXTENT_USED_TWICE'
  /** In a map or a journal, and free all the same: the next to be allocated. */
  | 'EXTENT_NOT_TAKEN'
  | 'EXTENT_PAST_POOL'
  | 'EXTENT_COUNT_WRONG'
  /** A journal extent, its keys and its transaction do not fit together. */
  | 'ASSOCIATION_LOST'
  | 'FLAGS_LOST'
  | 'TRANSACTION_WRONG'
  | 'MAP_WRONG'
  | 'NAME_WRONG';

export interface StateFinding {
  readonly code: StateFindingCode;
  /** For people: what was found. */
  readonly message: string;
  readonly details: Readonly<Record<string, number | string>>;
}

/** What the parts of a check share. */
export class CheckContext {
  readonly findings: StateFinding[] = [];
  readonly #used: Uint8Array;
  #usedExtents = 0;

  constructor(
    readonly state: State,
    readonly config: Config,
  ) {
    this.#used = new Uint8Array(Math.ceil(config.extents / 8));
  }

  find(
    code: StateFindingCode,
    message: string,
    details: Readonly<Record<string, number | string>> = {},
  ): void {
    this.findings.push({ code, message, details });
  }

  get usedExtents(): number {
    return this.#usedExtents;
  }

  isUsed(extent: number): boolean {
    return ((this.#used[extent >> 3] ?? 0) & (1 << (extent & 7))) !== 0;
  }

  /** A map or a journal has it. */
  use(extent: number, where: string): void {
    if (extent >= this.config.extents) {
      this.find('EXTENT_PAST_POOL', `${where} has extent ${extent}, past the pool's ${this.config.extents}`, {
        extent,
      });
      return;
    }
    if (this.isUsed(extent)) {
      this.find('EXTENT_USED_TWICE', `${where} has extent ${extent}, which is in another place too`, {
        extent,
      });
      return;
    }
    this.#used[extent >> 3]! |= 1 << (extent & 7);
    this.#usedExtents += 1;
  }
}
