/** Where the content of a backup goes: an image, an export, a backup set. */
export interface BackupTarget {
  /** For people. */
  readonly name: string;
  /** Ranges come in any order, each byte at most once, several at a time; whole blocks of 4 KiB but for the end of the volume. What is not put reads as zeroes, or, in an increment, as the backup before has it. */
  put(offset: number, content: Uint8Array): Promise<void>;
  /** Nobody uses the range at the moment, or it could not be read: it reads as zeroes. */
  zero(offset: number, length: number): Promise<void>;
  /** All that was put is durable, and the backup is good. */
  finish(): Promise<void>;
  /**
   * It is marked, and can never be taken for a good one; also while `finish` is under way. False: `finish` had made it good by
   * then, and it stays so.
   */
  abandon(state: 'failed' | 'cancelled', reason: string): Promise<boolean>;
}
