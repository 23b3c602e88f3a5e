/**
 * What only the open array tells of a volume: which stripes are dirty, which bytes are in doubt, and whether its
 * dirty-stripe record counts. It is opened for reading alone, and closed again.
 */

import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import { reportedDoubt } from '../raid/doubt.js';
import { countStripes } from '../raid/geometry.js';
import { arrayState } from '../raid/md/judge.js';
import type { Judgement } from '../raid/md/model.js';
import { type OpenArrayOptions, openArray } from '../raid/open.js';
import type { Located } from './locate.js';
import { openRecordFile, recordPath } from './record-file.js';
import type { RecordStatus, VolumeState, VolumeStatus } from './status-model.js';

export interface Inside {
  /** As its superblocks have it, and its record, which knows better. */
  readonly state: VolumeState;
  readonly dirtyStripes: number;
  readonly inDoubt: VolumeStatus['inDoubt'];
  readonly record: RecordStatus;
  readonly problems: VolumeStatus['problems'];
}

const NO_RECORD: RecordStatus = { kind: 'none', file: null, verdict: 'none', reason: '', generation: null };

export async function lookInside(
  located: Located,
  judgement: Judgement,
  named: string | undefined,
): Promise<Inside> {
  const state = arrayState(judgement);
  if (state === 'failed') return { state, dirtyStripes: 0, inDoubt: [], record: NO_RECORD, problems: [] };
  const warnings: string[] = [];
  const file = await openRecordFile(located, judgement, {
    access: 'read',
    record: named,
    warn: (message) => warnings.push(message),
  });
  try {
    const array = await openOrNot(judgement, {
      name: located.label,
      readOnly: true,
      warn: (message) => warnings.push(message),
      ...(file === null ? {} : { recordFile: file }),
    });
    if (array instanceof UserError) return notAssembled(array);
    try {
      return inside(array, judgement, recordPath(located, named), warnings);
    } finally {
      await array.close();
    }
  } finally {
    await file?.close();
  }
}

/** What keeps it from being opened is told as its state. */
async function openOrNot(judgement: Judgement, options: OpenArrayOptions): Promise<RaidArray | UserError> {
  try {
    return await openArray(judgement, options);
  } catch (error) {
    if (error instanceof UserError && error.code === 'NOT_ASSEMBLED') return error;
    throw error;
  }
}

function notAssembled({ code, message, hint = '' }: UserError): Inside {
  const problems = [{ code, message, hint }];
  return { state: 'failed', dirtyStripes: 0, inDoubt: [], record: NO_RECORD, problems };
}

function inside(
  { core, record }: RaidArray,
  judgement: Judgement,
  path: string | null,
  warnings: readonly string[],
): Inside {
  const { chosen } = record;
  const isKnown = chosen.record !== null;
  const isDirty = isKnown ? !core.isRecovered : judgement.set?.resyncOffset !== null;
  const inDoubt = isKnown ? reportedDoubt(core) : [];
  const doubtProblem =
    inDoubt.length === 0
      ? []
      : [
          {
            code: 'IN_DOUBT',
            message: `${inDoubt.reduce((sum, range) => sum + range.lengthBytes, 0)} bytes in ${inDoubt.length} ranges are in doubt: the member that held them is gone, and a write of their stripes was cut short`,
            hint: 'reads of them fail until they are written anew; everything else reads well',
          },
        ];
  return {
    state: arrayState(judgement, isDirty),
    dirtyStripes: isDirty ? countStripes(core.geometry, core.suspect.list()) : 0,
    inDoubt,
    record: {
      kind: record.kind,
      file: record.kind === 'file' ? path : null,
      verdict: chosen.verdict,
      reason: record.absence || chosen.reason,
      generation: isKnown ? Number(chosen.record!.generation) : null,
    },
    problems: [
      ...doubtProblem,
      ...warnings.map((message) => ({
        code: 'RECORD_FILE',
        message,
        hint: 'bring it back, or name it with --record',
      })),
    ],
  };
}
