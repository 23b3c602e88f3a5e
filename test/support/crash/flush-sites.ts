/** Which place of the code asks for a flush, or for fua: told by the call itself, so that none is forgotten. */
import type { BlockDevice } from '../../../src/device/contract.js';
import { withCalls } from '../devices/with-calls.js';

const MOST_FRAMES = 30;
export const NOBODY = 'nobody';

/** The nearest function of these files that has called, as `file function`. */
export function callerIn(files: RegExp): string {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = MOST_FRAMES;
  const frames = (new Error().stack ?? '').split('\n');
  Error.stackTraceLimit = limit;
  for (const frame of frames) {
    const [, path] = /\/src\/([\w/-]+)\.ts:/.exec(frame) ?? [];
    if (path === undefined || !files.test(path)) continue;
    const [, name = 'callback'] = /at (?:async )?(?:new )?([\w.#<>]+) /.exec(frame) ?? [];
    return `${path.split('/').at(-1)} ${name}`;
  }
  return NOBODY;
}

/** The device, without the flushes and the fua of which this is false. */
export function withoutFlush(device: BlockDevice, keeps: (call: 'flush' | 'fua') => boolean): BlockDevice {
  return withCalls(device, {
    async write(offset, from, options = {}) {
      const fua = options.fua === true && keeps('fua');
      await device.write(offset, from, { ...options, fua });
    },
    async writeZeroes(offset, length, options = {}) {
      const fua = options.fua === true && keeps('fua');
      await device.writeZeroes(offset, length, { ...options, fua });
    },
    async flush() {
      if (keeps('flush')) await device.flush();
    },
  });
}
