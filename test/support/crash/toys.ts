/**
 * Small stores with a known bug, or none, to see whether the explorer tells one from the other. Each device holds one
 * number a sector; what is owed is that an acknowledged number, or a later one, is read after recovery.
 */

import { explore } from '../../../src/crash/explorer.js';
import type { Report } from '../../../src/crash/explorer-report.js';
import type { ExploredState, ExploreOptions, Subject } from '../../../src/crash/explorer-subject.js';
import { Recorder } from '../../../src/crash/recorder.js';
import { StateContent } from '../../../src/crash/state-content.js';
import { StateDevice } from '../../../src/crash/state-device.js';
import type { BlockDevice } from '../../../src/device/contract.js';

export const SECTOR_BYTES = 512;
const DEVICE_BYTES = 64 * SECTOR_BYTES;

/** What is read after recovery: null, where it could not be. */
export interface ToyReading {
  readonly value: number | null;
  readonly isRecoveredTwiceAlike: boolean;
}

export interface Toy {
  readonly devices: number;
  /** Writes 1, 2, 3 ... and calls `acknowledged` when each is promised to be there. */
  work(devices: readonly BlockDevice[], acknowledged: (value: number) => void): Promise<void>;
  /** A device that is missing is null. */
  recover(devices: readonly (BlockDevice | null)[]): Promise<void>;
  read(devices: readonly (BlockDevice | null)[]): Promise<number | null>;
  readonly losesMembers?: boolean;
}

export function put(device: BlockDevice, sector: number, value: number, sectors = 1): Promise<void> {
  const bytes = new Uint8Array(sectors * SECTOR_BYTES);
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) bytes[at] = value;
  return device.write(sector * SECTOR_BYTES, bytes);
}

export async function get(device: BlockDevice, sector: number): Promise<number> {
  const bytes = new Uint8Array(SECTOR_BYTES);
  await device.read(sector * SECTOR_BYTES, bytes);
  return bytes[0]!;
}

/** Records the toy's work on blank devices. */
export async function toySubject(toy: Toy, seen: string[] = []): Promise<Subject<ToyReading, number>> {
  const recorder = new Recorder();
  const blank = Array.from({ length: toy.devices }, (_, device) => StateContent.blank(device));
  const devices = blank.map(
    (content, device) => new StateDevice(content.fork(), { name: `device-${device}`, size: DEVICE_BYTES }),
  );
  await toy.work(
    devices.map((device) => recorder.record(device)),
    (value) => recorder.mark('acknowledged', value),
  );
  const { trace } = recorder;
  return {
    trace,
    initial: blank,
    losesMembers: toy.losesMembers ?? false,
    isPromise: () => true,
    obligations: (cut) => {
      const marks = trace.events
        .slice(0, cut)
        .flatMap((event) => (event.kind === 'mark' ? [event.mark] : []));
      return Number(marks.at(-1)?.detail ?? 0);
    },
    evaluate: (state) => evaluate(toy, state, seen),
    check: ({ value, isRecoveredTwiceAlike }, owed) => {
      if (!isRecoveredTwiceAlike)
        return { invariant: 'twice', message: 'recovered twice it reads otherwise' };
      if (value === null) return { invariant: 'readable', message: 'it cannot be read' };
      if (value >= owed) return null;
      return { invariant: 'acknowledged', message: `${owed} was acknowledged, and ${value} is there` };
    },
  };
}

async function evaluate(toy: Toy, state: ExploredState, seen: string[]) {
  const devices = state.devices();
  seen.push(await fingerprint(devices));
  const recorder = new Recorder();
  const recorded = devices.map((device, index) => {
    const absent = new StateDevice(StateContent.blank(index), {
      name: `absent-${index}`,
      size: DEVICE_BYTES,
    });
    const wrapped = recorder.record(device ?? absent);
    return device === null ? null : wrapped;
  });
  await toy.recover(recorded);
  const value = await toy.read(devices);
  await toy.recover(devices);
  const isRecoveredTwiceAlike = (await toy.read(devices)) === value;
  return { reading: { value, isRecoveredTwiceAlike }, recovery: recorder.trace };
}

async function fingerprint(devices: readonly (StateDevice | null)[]): Promise<string> {
  const bytes = new Uint8Array(DEVICE_BYTES);
  let all = '';
  for (const device of devices) {
    await device?.read(0, bytes);
    all += '/';
    for (let at = 0; device !== null && at < bytes.length; at += SECTOR_BYTES) all += bytes[at];
  }
  return all;
}

export async function exploreToy(toy: Toy, options: Partial<ExploreOptions> = {}): Promise<Report> {
  return explore(await toySubject(toy), { seed: 1, ...options });
}
