/**
 * A buffer of a reply together with the memory that was taken for it: both go back at once, and once.
 */
import type { ReplyBuffer } from './reply-buffers.js';
import type { Session } from './session.js';

export class Piece {
  readonly buffer: ReplyBuffer;
  /** As long as was asked for. */
  readonly data: Buffer;
  #released = false;

  /** The session's account has taken `length` bytes for it. */
  constructor(
    private readonly session: Session,
    private readonly length: number,
  ) {
    this.buffer = session.buffers.take(length);
    this.data = this.buffer.data(length);
  }

  /** Nobody reads into it or sends it any more. The second time nothing happens. */
  readonly release = (): void => {
    if (this.#released) return;
    this.#released = true;
    this.session.buffers.give(this.buffer);
    this.session.account.give(this.length);
  };
}
