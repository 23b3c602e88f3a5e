/** `holdfast status`: what a volume is and how it is. Nothing is written and nothing is locked. */
import { HoldfastCommand, type Outcome } from '../src/cli/base-command.js';
import type { Painter, Tone } from '../src/cli/colour.js';
import { EXIT, STATE_EXIT_CODES } from '../src/cli/exit-codes.js';
import { FLAG_PLACE_WORDS } from '../src/cli/file-command.js';
import { asRawFlag, recordFlag, volumesArgument } from '../src/cli/flags.js';
import { renderReplicas } from '../src/cli/replica-command.js';
import { formatSize } from '../src/cli/sizes.js';
import { type Cell, type Row, renderFacts, renderTable } from '../src/cli/tables.js';
import type {
  MemberStatus,
  RecordStatus,
  ServingStatus,
  VolumeState,
  VolumeStatus,
} from '../src/volume/index.js';

/** Ranges in doubt that are shown to people. */
const SHOWN_RANGES = 8;

const VERDICTS: Readonly<Record<VolumeState, { exitCode: number; tone: Tone }>> = {
  clean: { exitCode: EXIT.done, tone: 'good' },
  active: { exitCode: EXIT.done, tone: 'good' },
  dirty: { exitCode: EXIT.unwell, tone: 'doubtful' },
  degraded: { exitCode: EXIT.unwell, tone: 'doubtful' },
  rebuilding: { exitCode: EXIT.unwell, tone: 'doubtful' },
  'dirty-degraded': { exitCode: EXIT.lost, tone: 'bad' },
  failed: { exitCode: EXIT.lost, tone: 'bad' },
};

export default class Status extends HoldfastCommand<typeof Status> {
  static override summary = 'Show what a volume is, how it is, and what to do about it';
  static override description =
    'Looks at the images alone: nothing is written and nothing is locked. Bit rot does not show here, only in scrub.';
  static override examples = [
    '<%= config.bin %> status myvolume',
    '<%= config.bin %> status disk1.img disk2.img disk3.img --json',
  ];
  static override exitCodes = STATE_EXIT_CODES;
  static override args = { volume: volumesArgument };
  static override flags = { 'as-raw': asRawFlag, record: recordFlag };

  protected async execute(): Promise<Outcome> {
    const { volumeStatus } = await import('../src/volume/index.js');
    const status = await volumeStatus(this.args.volume, {
      asRaw: this.flags['as-raw'],
      record: this.flags.record,
    });
    return { result: status, exitCode: verdictOf(status), text: (paint) => describe(status, paint) };
  }
}

function verdictOf({ inDoubt, state, replicas }: VolumeStatus): number {
  if (inDoubt.length > 0) return EXIT.lost;
  const { exitCode } = VERDICTS[state];
  const isInSync = replicas.every((replica) => replica.state === 'in-sync');
  return exitCode === EXIT.done && !isInSync ? EXIT.unwell : exitCode;
}

async function describe(status: VolumeStatus, paint: Painter): Promise<string> {
  const parts = [renderFacts(factsOf(status), paint)];
  if (status.members.length > 0) {
    const head = ['Slot', 'State', 'Image', 'Events', 'Remark'];
    parts.push(await renderTable({ head, rows: status.members.map(memberRow) }, paint));
  }
  if (status.replicas.length > 0) parts.push(await renderReplicas(status.replicas, paint));
  const problems = status.problems.map(({ message, hint }) => `- ${message}\n  ${hint}`);
  if (problems.length > 0) parts.push(`What is wrong, and what to do:\n${problems.join('\n')}`);
  return parts.join('\n\n');
}

function factsOf(status: VolumeStatus): [string, string | Cell][] {
  const { raid, holder } = status;
  const facts: [string, string | Cell][] = [
    ['Name', status.name],
    ['State', { text: status.state, tone: VERDICTS[status.state].tone }],
    ['Size', formatSize(status.sizeBytes)],
    ['Format', status.format],
  ];
  if (status.uuid !== null) facts.push(['UUID', status.uuid]);
  if (holder !== null)
    facts.push([
      'Open in',
      holder === 'unknown' ? 'another process' : `${holder.command} (process ${holder.pid})`,
    ]);
  if (status.serving !== undefined) facts.push(...servingFacts(status.serving));
  if (status.extents !== undefined) facts.push(...extentsFacts(status.extents));
  if (raid === undefined) return facts;
  facts.push(
    ['RAID', `level ${raid.level}, ${raid.raidDisks} members, ${raid.layout}`],
    ['Chunk', formatSize(raid.chunkBytes)],
    ['Metadata', `md ${raid.metadataVersion}, data from ${formatSize(raid.dataOffsetBytes)}`],
    ['Events', String(raid.events)],
    ['Dirty stripes', String(status.dirtyStripes)],
    ['Stripe record', describeRecord(raid.record)],
  );
  status.inDoubt.slice(0, SHOWN_RANGES).forEach(({ offsetBytes, lengthBytes }, index) => {
    facts.push([index === 0 ? 'In doubt' : '', `${lengthBytes} bytes at offset ${offsetBytes}`]);
  });
  const more = status.inDoubt.length - SHOWN_RANGES;
  if (more > 0) facts.push(['', `and ${more} more ranges (--json has them all)`]);
  return facts;
}

function extentsFacts({
  extentBytes,
  blockBytes,
  flags,
  extents,
  free,
  reserved,
  journal,
  files,
  uncommitted,
  transactionsToComplete,
}: NonNullable<VolumeStatus['extents']>): [string, string][] {
  const sizes = `of ${formatSize(extentBytes)}, blocks of ${formatSize(blockBytes)}`;
  if (extents === null) return [['Extents', `${sizes}; what is in them cannot be told now`]];
  return [
    ['Files', String(files)],
    ['Extents', `${extents} ${sizes}`],
    ['Free', `${free} extents, ${reserved} of them reserved`],
    ['Journal', `${journal} extents, ${uncommitted} with changes that are not committed`],
    ['Flags kept', FLAG_PLACE_WORDS[flags]],
    ['To complete', `${transactionsToComplete} transactions`],
  ];
}

/** What its server has done so far. */
function servingFacts({
  exports,
  seconds,
  cacheMode,
  cache,
  recordWrites,
  secondary,
}: ServingStatus): [string, string][] {
  const [{ name, connections, counters }] = exports as [(typeof exports)[0]];
  const requests = Object.values(counters.requests).reduce((sum, count) => sum + count, 0);
  const perSecond = (bytes: number) => `${formatSize(bytes)} (${formatSize(Math.round(bytes / seconds))}/s)`;
  return [
    ['Served as', `${name}, for ${Math.round(seconds)} s, ${cacheMode}`],
    ['Connections', `${connections}, ${requests} requests, ${counters.inFlight} in flight`],
    ['Read', perSecond(counters.readBytes)],
    ['Written', perSecond(counters.writtenBytes)],
    [
      'Cache',
      cache === null
        ? 'none'
        : `${formatSize(cache.cachedBytes)}, ${formatSize(cache.dirtyBytes)} of it dirty`,
    ],
    ['Record writes', recordWrites === null ? 'none' : String(recordWrites)],
    ...(secondary === null || secondary === undefined ? [] : secondaryFacts(secondary)),
  ];
}

/** Of a place for a secondary. */
function secondaryFacts(place: NonNullable<ServingStatus['secondary']>): [string, string][] {
  const { marks, consistentPoint, trouble, isJoined } = place;
  if (trouble !== null) return [['Secondary', `cannot be opened: ${trouble}`]];
  if (marks === null) return [['Secondary', 'of no volume yet']];
  const primary = isJoined ? 'its primary is connected' : 'its primary is away';
  const at = ({ epoch, atMs }: NonNullable<typeof consistentPoint>) =>
    epoch === 0 ? 'before the first epoch' : `epoch ${epoch}, ${new Date(atMs).toISOString()}`;
  return [
    ['Secondary of', `${marks.volumeUuid}, generation ${marks.generation.number}`],
    ['As secondary', marks.state === 'promoted' ? 'promoted' : `${marks.state}; ${primary}`],
    ['Point', consistentPoint === null ? 'none' : at(consistentPoint)],
    [
      'Epoch log',
      `${formatSize(place.logUsedBytes ?? 0)} of ${formatSize(place.logBytes ?? 0)}, ${place.keptBlocks} blocks kept`,
    ],
  ];
}

/** Where it is, and whether it counts. */
function describeRecord({ kind, file, verdict, reason }: RecordStatus): string {
  if (kind === 'none') return `none (${reason}): after a crash all is resynced`;
  const place = kind === 'file' ? `in ${file}` : 'on the members';
  if (verdict === 'valid') return place;
  if (verdict === 'none') return `${place}, nothing written yet`;
  return `${place}, not used (${reason})`;
}

function memberRow(member: MemberStatus): Row {
  const tone = member.state === 'in-sync' ? 'good' : member.state === 'spare' ? 'faint' : 'bad';
  const remarks = [
    member.replacement ? 'replaces the member in its slot' : '',
    member.rebuiltBytes === null ? '' : `rebuilt up to ${formatSize(member.rebuiltBytes)}`,
    member.badBlocks.length === 0
      ? ''
      : `bad blocks: ${member.badBlocks.length} range${member.badBlocks.length === 1 ? '' : 's'}`,
    member.reason,
  ];
  return [
    member.slot === null ? '-' : String(member.slot),
    { text: member.state, tone },
    member.image ?? '-',
    member.events === null ? '-' : String(member.events),
    remarks.filter((remark) => remark !== '').join('; '),
  ];
}
