/**
 * The choice of a moment (online backup, steps 900 and 905): what was answered before it is in it, what comes later is not, and
 * a request is wholly in it or not at all.
 *
 * Most of what is not below the gate yet is flushed before anybody is held. Then changes wait, those under way end, the rest
 * goes down, and the keeper is there: nothing has gone through the gate in between.
 */
import type { HoldingDevice } from '../device/holding-device.js';
import type { GateDevice, Keeper } from './gate.js';

export class Moments {
  constructor(
    /** Every change of the volume comes through it; a cache may be below it, and the gate is. */
    readonly top: HoldingDevice,
    readonly gate: GateDevice,
  ) {}

  /** Throws what the flush throws: then no moment was chosen, and the volume goes on as it can. */
  choose(keeper: Keeper): Promise<void> {
    return this.at(async () => this.gate.add(keeper));
  }

  /** `body` runs at a moment: all that was answered before is below the gate, and nothing comes until it ends. */
  async at<R>(body: () => Promise<R>): Promise<R> {
    await this.top.flush();
    return this.top.held(async () => {
      await this.top.flush();
      return body();
    });
  }
}
