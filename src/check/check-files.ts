/**
 * Checks what lies in a volume of files: copies of its superblocks, its metadata engine, and what the metadata says
 * against itself. The layers below have looked (volume/fsck-files.ts); what it means, and what can be done, is said here.
 */
import { type CheckContext, type CheckedFiles, isWhole } from './context.js';
import { type Finding, type FindingCode, finding, type RepairName } from './findings.js';

export async function* checkFiles(context: CheckContext): AsyncGenerator<Finding> {
  const { files } = context;
  if (files === null) return;
  yield* checkTrouble(files);
  yield* checkCopies(context, files);
  yield* checkEngine(context, files);
  yield* checkState(context, files);
  yield* checkUnfinished(context, files);
}

/** With a member missing, the first write would put it out for good. */
function mayRepair(context: CheckContext): boolean {
  return context.judgement === null || isWhole(context);
}

function* checkTrouble({ trouble }: CheckedFiles): Generator<Finding> {
  if (trouble === null) return;
  const { image, offsetBytes } = trouble.details;
  const where = {
    ...(typeof image === 'string' ? { image } : {}),
    ...(typeof offsetBytes === 'number' ? { offsetBytes } : {}),
  };
  const { message, hint = '', code } = trouble;
  yield finding('FILES_NOT_ASSEMBLED', where, message, { hint, reason: code });
}

function* checkCopies(context: CheckContext, { copies }: CheckedFiles): Generator<Finding> {
  for (const { image, offsetBytes, why } of copies) {
    const message = `a copy of the superblock of the extents is damaged: ${why}`;
    yield finding('EXTENTS_COPY_DAMAGED', { image, offsetBytes, lengthBytes: 4096 }, message, {
      hint: 'the other copy is whole; the next command that writes files mends this one',
      repair: mayRepair(context) ? 'mend-metadata' : null,
    });
  }
}

const ENGINE_CODES = {
  copy: 'METADATA_COPY_DAMAGED',
  count: 'METADATA_COUNT_WRONG',
  damage: 'METADATA_DAMAGED',
} as const;

const ENGINE_HINTS = {
  copy: 'the other half has it whole',
  count: 'nothing is lost by it but room for metadata',
  damage:
    'put a good copy of the image in its place; what files can still be read is read by holdfast file export',
} as const;

function* checkEngine(context: CheckContext, { engine }: CheckedFiles): Generator<Finding> {
  // Counts are made of the tree: where that is damaged they say nothing.
  const isMendable = engine.every(({ kind }) => kind !== 'damage');
  for (const { kind, code, image, offsetBytes, lengthBytes, message } of engine) {
    const where = { image, offsetBytes, ...(lengthBytes > 0 ? { lengthBytes } : {}) };
    yield finding(ENGINE_CODES[kind], where, message, {
      hint: ENGINE_HINTS[kind],
      reason: code,
      repair:
        (kind === 'copy' || (kind === 'count' && isMendable)) && mayRepair(context) ? 'mend-metadata' : null,
    });
  }
}

/** By the codes of the metadata server's own check; `repair`: where it mends all that is found (volume/fsck-files.ts). */
const STATE_CODES: Readonly<Record<string, { readonly code: FindingCode; readonly repair: RepairName }>> = {
  EXTENT_LEAKED: { code: 'EXTENTS_LEAKED', repair: 'rebuild-indexes' },
  EXTENT_NOT_TAKEN: { code: 'EXTENTS_NOT_TAKEN', repair: 'rebuild-indexes' },
  EXTENT_COUNT_WRONG: { code: 'EXTENTS_COUNT_WRONG', repair: 'rebuild-indexes' },
  EXTENT_USED_TWICE: { code: 'EXTENTS_USED_TWICE', repair: 'separate-extents' },
  EXTENT_PAST_POOL: { code: 'EXTENTS_USED_TWICE', repair: 'separate-extents' },
  ASSOCIATION_LOST: { code: 'JOURNAL_WRONG', repair: 'rebuild-indexes' },
  FLAGS_LOST: { code: 'JOURNAL_WRONG', repair: 'rebuild-indexes' },
  TRANSACTION_WRONG: { code: 'TRANSACTIONS_WRONG', repair: 'rebuild-indexes' },
  MAP_WRONG: { code: 'MAPS_WRONG', repair: 'rebuild-indexes' },
  NAME_WRONG: { code: 'NAMES_WRONG', repair: 'rebuild-indexes' },
};

/** Neither of the two is changed by the other any more; what was written to one before is in both. */
const TWICE_HINT =
  'what was written to the one may have overwritten the other: read out both files (holdfast file export), and compare them with a backup';

const STATE_HINT =
  'read out the files (holdfast file export), and compare them with a backup: what is right cannot be told from the metadata alone';

/** As many as are shown of one kind. */
const SHOWN = 3;

/** All of one kind are one finding: a lost page can make thousands. */
function* checkState(context: CheckContext, { state, engine, isMendable }: CheckedFiles): Generator<Finding> {
  const kinds = new Map<string, string[]>();
  for (const { code, message } of state) kinds.set(code, [...(kinds.get(code) ?? []), message]);
  // What something else is damaged by may be what tells whose an extent is.
  const isCertain = mayRepair(context) && engine.every(({ kind }) => kind === 'copy') && isMendable;
  for (const [kind, messages] of kinds) {
    const known = STATE_CODES[kind];
    if (known === undefined)
      throw new Error(`a check of the metadata finds ${kind}, which is not known here`);
    const more = messages.length > SHOWN ? `; and ${messages.length - SHOWN} more` : '';
    const repair = isCertain ? known.repair : null;
    yield finding(known.code, {}, `${messages.slice(0, SHOWN).join('; ')}${more}`, {
      hint: repair === null ? STATE_HINT : repair === 'separate-extents' ? TWICE_HINT : '',
      reason: kind,
      repair,
    });
  }
}

function* checkUnfinished(context: CheckContext, files: CheckedFiles): Generator<Finding> {
  const { unfinished, state, engine } = files;
  if (unfinished === 0) return;
  const isWell = state.length === 0 && engine.every(({ kind }) => kind === 'copy');
  yield finding(
    'TRANSACTIONS_UNFINISHED',
    {},
    `${unfinished} transactions were committed and are not complete: what they hold lies in the journal still`,
    {
      hint: 'holdfast recover completes them; so does the next command that writes files',
      repair: isWell && mayRepair(context) ? 'complete-transactions' : null,
    },
  );
}
