/** A state of a trace, put on image files. */
import { mkdir, stat, utimes } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { versionOn } from '../../crash/file-versions.js';
import { PowerLoss, PROFILES, type ProfileName } from '../../crash/profiles.js';
import type { StateContent } from '../../crash/state-content.js';
import { StateDevice } from '../../crash/state-device.js';
import { CutWalk } from '../../crash/states.js';
import { KeptWrites } from '../../crash/states-kept.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { fileError } from '../../device/device-errors.js';
import { wholeOrNone } from '../../device/whole-or-none.js';
import { UserError } from '../../errors.js';
import { initialContents } from './explore-trace.js';
import { putVersion } from './put-version.js';
import { StateImage } from './state-image.js';

export interface CutPlace {
  /** The power is cut before this event happens. */
  readonly event: number;
  /** Of the writes that are volatile then: none, all, or these operations. */
  readonly keep: 'none' | 'all' | readonly number[];
  readonly profile: ProfileName;
}

/** What a cut there leaves. Throws OUT_OF_RANGE for an event that there is not, or an operation that is not volatile there. */
export function contentsAtCut(trace: StoredTrace, { event, keep, profile }: CutPlace): StateContent[] {
  if (event > trace.events.length)
    throw new UserError('OUT_OF_RANGE', `there is no event ${event}: the trace has ${trace.events.length}`);
  const walk = new CutWalk(trace, initialContents(trace), new PowerLoss(PROFILES[profile]));
  walk.advance(event);
  const state = new KeptWrites(walk);
  const numbers = Array.from({ length: state.count }, (_, write) => state.operation(write).number);
  if (Array.isArray(keep)) for (const number of keep) assertVolatile(number, numbers, event);
  for (const [write, number] of numbers.entries())
    state.keep(write, keep === 'all' || (keep !== 'none' && keep.includes(number)));
  return state.contents();
}

function assertVolatile(number: number, volatile: readonly number[], event: number): void {
  if (volatile.includes(number)) return;
  const known = volatile.length === 0 ? 'none is' : `these are: ${volatile.join(', ')}`;
  throw new UserError('OUT_OF_RANGE', `operation ${number} is not volatile before event ${event}: ${known}`);
}

export interface PutImages {
  readonly images: readonly string[];
  /** The one that was taken away after the cut, as it was then: beside the others, with `.missing` behind its name. */
  readonly missing: string | null;
}

/** One image at `output`; of several devices a folder of them. Throws FILE_EXISTS where something is there. */
export async function putOnImages(
  contents: readonly StateContent[],
  { devices }: StoredTrace,
  { output, missing }: { readonly output: string; readonly missing: number | null },
): Promise<PutImages> {
  if ((await stat(output).catch(() => null)) !== null)
    throw new UserError('FILE_EXISTS', `${output} is there already`, { details: { image: output } });
  const states = contents.map((content, at) => new StateDevice(content, devices[at]!));
  return wholeOrNone(output, async () => {
    if (devices.length > 1) await makeFolder(output);
    const images: string[] = [];
    let gone: string | null = null;
    for (const [at, state] of states.entries()) {
      const name = `${at}-${basename(state.name)}${at === missing ? '.missing' : ''}`;
      const path = devices.length === 1 ? output : join(output, name);
      const { versions } = devices[at]!;
      const isThere = versions === undefined || putVersion(path, versionOn(state, versions));
      if (versions === undefined) await putImage(path, state);
      if (at === missing) gone = path;
      else if (isThere) images.push(path);
    }
    return { images, missing: gone };
  });
}

async function makeFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true }).catch((error: unknown) => {
    throw fileError(path, 'made', error);
  });
}

async function putImage(path: string, state: StateDevice): Promise<void> {
  await new StateImage(path).show(state);
  await utimes(path, new Date(), new Date());
}
