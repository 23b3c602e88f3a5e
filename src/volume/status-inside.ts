/**
 * What only the open array tells of a volume: which stripes are dirty, which bytes are in doubt, and whether its
 * dirty-stripe record counts. It is opened for reading alone, and closed again.
 */

import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import { asPlaces, bytesKnownInDoubt, describeForgotten, forgottenDoubt } from '../raid/doubt.js';
import { countStripes } from '../raid/geometry.js';
import { arrayState } from '../raid/md/judge.js';
import type { Judgement } from '../raid/md/model.js';
import { type OpenArrayOptions, openArray } from '../raid/open.js';
import { writingForbidden } from '../raid/record/index.js';
import type { Located } from './locate.js';
import { describeTrouble, lookAtRecordFile, type RecordFileLook } from './record-file.js';
import { type FilesLook, lookAtFiles } from './status-extents.js';
import type { RecordStatus, VolumeState, VolumeStatus } from './status-model.js';

type Problems = VolumeStatus['problems'];

export interface Inside {
  /** As its superblocks have it, and its record, which knows better. */
  readonly state: VolumeState;
  readonly dirtyStripes: number;
  readonly inDoubt: VolumeStatus['inDoubt'];
  readonly record: RecordStatus;
  readonly problems: Problems;
  /** null: the volume is raw, or there is no array to look into. */
  readonly files: FilesLook | null;
}

const NO_RECORD: RecordStatus = {
  kind: 'none',
  file: null,
  verdict: 'none',
  reason: 'the array is not assembled',
  generation: null,
  forgottenDoubt: [],
};

const NOTHING = { dirtyStripes: 0, inDoubt: [], record: NO_RECORD, files: null } as const;

export async function lookInside(
  located: Located,
  judgement: Judgement,
  named: string | undefined,
  /** Somebody has it open for writing. */
  isHeld: boolean,
): Promise<Inside> {
  const state = arrayState(judgement);
  if (state === 'failed') return { state, ...NOTHING, problems: [] };
  const look = await lookAtRecordFile(located, judgement, named);
  try {
    const array = await openOrNot(judgement, {
      name: located.label,
      readOnly: true,
      // What it would tell is told below, as problems.
      warn: () => undefined,
      ...(look.file === null ? {} : { recordFile: look.file }),
    });
    if (array instanceof UserError) return notAssembled(array);
    try {
      return { ...inside(array, judgement, look), files: await lookAtFiles(located, array, isHeld) };
    } finally {
      await array.close();
    }
  } finally {
    await look.file?.close();
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
  return { state: 'failed', ...NOTHING, problems };
}

function inside(array: RaidArray, judgement: Judgement, look: RecordFileLook): Omit<Inside, 'files'> {
  const { core, record } = array;
  const isKnown = record.chosen.record !== null;
  const isDirty = isKnown ? !core.isRecovered : judgement.set?.resyncOffset !== null;
  const inDoubt = asPlaces(bytesKnownInDoubt(core));
  return {
    state: arrayState(judgement, isDirty),
    dirtyStripes: isDirty ? countStripes(core.geometry, core.suspect.list()) : 0,
    inDoubt,
    record: recordStatus(array, look),
    problems: [
      ...doubtProblems(inDoubt),
      ...forgottenProblems(array),
      ...fileProblems(look),
      ...featureProblems(array),
    ],
  };
}

function recordStatus({ core, record }: RaidArray, { path, trouble }: RecordFileLook): RecordStatus {
  const { chosen } = record;
  const told = {
    generation: chosen.record === null ? null : Number(chosen.record.generation),
    forgottenDoubt: asPlaces(forgottenDoubt(core, chosen.overtaken)),
  };
  if (trouble !== null)
    return { kind: 'file', file: path, verdict: trouble.kind, reason: trouble.reason, ...told };
  return {
    kind: record.kind,
    file: record.kind === 'file' ? path : null,
    verdict: chosen.verdict,
    reason: record.absence || chosen.reason,
    ...told,
  };
}

function fileProblems({ trouble }: RecordFileLook): Problems {
  if (trouble === null) return [];
  return [{ code: 'RECORD_FILE', message: describeTrouble(trouble), hint: trouble.hint }];
}

/** What forbids to write it, and not to look at it. */
function featureProblems({ name, record }: RaidArray): Problems {
  const forbidden = writingForbidden(name, record.chosen);
  if (forbidden === null) return [];
  return [{ code: 'RECORD_FEATURE', message: forbidden.message, hint: forbidden.hint ?? '' }];
}

function forgottenProblems({ core, record }: RaidArray): Problems {
  const ranges = forgottenDoubt(core, record.chosen.overtaken);
  if (ranges.length === 0) return [];
  return [
    {
      code: 'DOUBT_FORGOTTEN',
      message: describeForgotten(ranges),
      hint: 'compare them with a backup now: the next command that writes makes a new record, and then nothing names them',
    },
  ];
}

function doubtProblems(inDoubt: Inside['inDoubt']): Problems {
  if (inDoubt.length === 0) return [];
  const bytes = inDoubt.reduce((sum, range) => sum + range.lengthBytes, 0);
  return [
    {
      code: 'IN_DOUBT',
      message: `${bytes} bytes in ${inDoubt.length} ranges are in doubt: the member that held them is gone, and a write of their stripes was cut short; or a rebuild could not make them`,
      hint: 'reads of them fail until they are written anew; everything else reads well',
    },
  ];
}
