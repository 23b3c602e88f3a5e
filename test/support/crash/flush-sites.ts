/** Which place of the code asks for a flush, or for fua: told by the call itself, so that none is forgotten. */
import type { BlockDevice } from '../../../src/device/contract.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';

const MOST_FRAMES = 30;

export type Barrier = 'flush' | 'fua';

/** Who asks for the barrier that is being called; null: nobody that is meant. */
export type SiteOf = (call: Barrier) => string | null;

/** A function of the product that is under way. */
export interface Caller {
  /** Below `src`, with its ending. */
  readonly path: string;
  readonly line: number;
  /** With its class. */
  readonly name: string;
}

/** The innermost first. */
export function callers(): Caller[] {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = MOST_FRAMES;
  const frames = (new Error().stack ?? '').split('\n');
  Error.stackTraceLimit = limit;
  return frames.flatMap((frame) => {
    const [, path, line] = /\/src\/([\w/-]+\.ts):(\d+)/.exec(frame) ?? [];
    // What sets the stage is not on it.
    if (path === undefined || path.startsWith('lab/self/')) return [];
    const [, name = `callback in line ${line}`] = /at (?:async )?(?:new )?([\w.#<>]+) /.exec(frame) ?? [];
    return [{ path, line: Number(line), name }];
  });
}

/** By the nearest function of these files, as `device, call: file function`. */
export function sitesIn(files: RegExp, device: string): SiteOf {
  return (call) => {
    const caller = callers().find(({ path }) => files.test(path));
    return caller === undefined
      ? null
      : `${device}, ${call}: ${caller.path.split('/').at(-1)} ${caller.name}`;
  };
}

/** The device, without the flushes and the fua of the sites of which this is false. */
export function withoutFlush(
  device: BlockDevice,
  siteOf: SiteOf,
  keepsSite: (site: string) => boolean,
): BlockDevice {
  const keeps = (call: Barrier) => {
    const site = siteOf(call);
    return site === null || keepsSite(site);
  };
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
