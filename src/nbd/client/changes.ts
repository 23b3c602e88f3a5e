/**
 * The way of everything that changes an export: room is made for it, it is sent, and it is kept until it is durable.
 *
 * What durable takes depends on the server (proto.md, "Transmission flags"):
 *
 * | server offers | a change | fua | flush |
 * |---|---|---|---|
 * | flush, fua | plain, kept | with FUA | flush |
 * | flush | plain, kept | plain, then a flush | flush |
 * | fua | with FUA | with FUA | nothing to do |
 * | neither | plain | plain | nothing to do, and only if the user trusts the server so far (NbdDevice.open) |
 *
 * Invariants
 * - A flush covers what was answered before it was sent; only that is no longer kept when it has been answered.
 * - A flush that fails is final, whoever wanted it: the user, a write with fua, or the need for room.
 */
import { DeviceError } from '../../device/contract.js';
import { toDeviceError } from '../../device/device-errors.js';
import { SharedFlush } from '../../device/shared-flush.js';
import { COMMAND_FLAGS, COMMANDS } from '../protocol/constants.js';
import { AnsweredError } from './client-errors.js';
import type { ExportTraits } from './export-traits.js';
import type { NbdRequest } from './pending.js';
import type { NbdSession } from './session.js';
import type { Change, Room, UnflushedWrites } from './unflushed.js';

const ZEROES = new Uint8Array(1024 * 1024);

export class Changes {
  readonly #session: NbdSession;
  readonly #unflushed: UnflushedWrites;
  readonly #name: string;
  readonly #onFinal: (error: DeviceError) => void;
  readonly #flush = new SharedFlush(() => this.#flushOnce());
  #isMakingRoom = false;

  /** `onFinal`: a flush has failed; `name`: of the device. */
  constructor(
    session: NbdSession,
    unflushed: UnflushedWrites,
    name: string,
    onFinal: (error: DeviceError) => void,
  ) {
    this.#session = session;
    this.#unflushed = unflushed;
    this.#name = name;
    this.#onFinal = onFinal;
  }

  /** Ends when the server has taken the change, or, with `fua` and a server that can, when it is durable. */
  async send(change: Change, fua: boolean): Promise<void> {
    const { traits } = this.#session;
    const withFua = traits.canFua && (fua || !traits.canFlush);
    const admitted = this.#unflushed.admit(change);
    this.#makeRoom();
    const room = await admitted;
    await this.#sendWithRoom(change, room, withFua);
    if (withFua || !traits.canFlush) this.#unflushed.durable(room);
    else this.#unflushed.keep(room);
    this.#makeRoom();
  }

  /** Makes durable what was answered before. @throws DeviceError, which is final. */
  async flush(): Promise<void> {
    try {
      await this.#flush.run();
    } catch (cause) {
      const error = toDeviceError(cause, { device: this.#name, operation: 'flush' });
      this.#unflushed.refuse(error);
      this.#onFinal(error);
      throw error;
    }
  }

  async #sendWithRoom(change: Change, room: Room, withFua: boolean): Promise<void> {
    try {
      await this.#session.request(requestOf(change, this.#session.traits, withFua));
    } catch (error) {
      // Where there was no answer the range is in doubt for good: it stays among those that are told.
      if (error instanceof AnsweredError) this.#unflushed.giveUp(room);
      throw error;
    }
  }

  /** Flushes while what is kept takes too much. Nobody waits for it but those who wait for room. */
  #makeRoom(): void {
    if (this.#isMakingRoom || !this.#unflushed.wantsFlush) return;
    this.#isMakingRoom = true;
    this.flush().then(
      () => {
        this.#isMakingRoom = false;
        this.#makeRoom();
      },
      (error: unknown) => {
        this.#isMakingRoom = false;
        // `flush` has told it to those who wait for room, and to whoever comes next.
        if (!(error instanceof DeviceError)) throw error;
      },
    );
  }

  async #flushOnce(): Promise<void> {
    if (!this.#session.traits.canFlush) return;
    let mark = 0;
    await this.#session.request({
      command: COMMANDS.NBD_CMD_FLUSH,
      flags: 0,
      offset: 0,
      length: 0,
      onSend: () => {
        mark = this.#unflushed.mark();
      },
    });
    this.#unflushed.flushed(mark);
  }
}

/** The request that makes the change. Zeroes are written where the server cannot make them itself. */
export function requestOf(change: Change, traits: ExportTraits, withFua: boolean): NbdRequest {
  const { kind, offset, length } = change;
  const place = { flags: withFua ? COMMAND_FLAGS.NBD_CMD_FLAG_FUA : 0, offset, length };
  if (kind === 'trim') return { command: COMMANDS.NBD_CMD_TRIM, ...place };
  if (kind === 'write-zeroes' && traits.canWriteZeroes) {
    return { command: COMMANDS.NBD_CMD_WRITE_ZEROES, ...place };
  }
  return { command: COMMANDS.NBD_CMD_WRITE, ...place, data: change.data ?? zeroes(length) };
}

function zeroes(length: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let left = length; left > 0; left -= ZEROES.byteLength) views.push(ZEROES.subarray(0, left));
  return views;
}
