/** Parts that fail as told, or whose process is killed before one of its calls: then nothing goes down any more. */
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { withCalls } from '../with-calls.js';
import type { PartName } from './explored-store.js';

type Call = 'write' | 'flush';

export interface Fault {
  /** `layers`: each of them. */
  readonly part: 'list' | 'names' | 'layers';
  readonly call: Call;
  /** How many of these calls fail; `killed`: the process is gone before the next one. */
  readonly times: number | 'killed';
}

export class FailingParts {
  #faults: { readonly fault: Fault; left: number }[] = [];
  #isKilled = false;

  fail(fault: Fault): void {
    this.#faults.push({ fault, left: fault.times === 'killed' ? 1 : fault.times });
  }

  kill(): void {
    this.#isKilled = true;
  }

  wrap(device: BlockDevice, part: PartName): BlockDevice {
    const own = part.startsWith('layer') ? 'layers' : part;
    const before = (call: Call) => {
      const found = this.#faults.find(
        ({ fault, left }) => left > 0 && fault.part === own && fault.call === call,
      );
      if (found !== undefined) found.left -= 1;
      this.#isKilled ||= found?.fault.times === 'killed';
      if (this.#isKilled) throw new UserError('IO_ERROR', `${part}: the process is gone`);
      if (found !== undefined) throw new UserError('IO_ERROR', `${part}: it fails`);
    };
    return withCalls(device, {
      async write(offset, from, options) {
        before('write');
        await device.write(offset, from, options);
      },
      async writeZeroes(offset, length, options) {
        before('write');
        await device.writeZeroes(offset, length, options);
      },
      async trim(offset, length) {
        before('write');
        await device.trim(offset, length);
      },
      async flush() {
        before('flush');
        await device.flush();
      },
    });
  }
}
