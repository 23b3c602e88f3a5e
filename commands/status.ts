/** `holdfast status`: what a volume is and how it is. Nothing is written and nothing is locked. */
import { HoldfastCommand, type Outcome } from '../src/cli/base-command.js';
import type { Painter, Tone } from '../src/cli/colour.js';
import { EXIT, STATE_EXIT_CODES } from '../src/cli/exit-codes.js';
import { asRawFlag, volumesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { type Cell, type Row, renderFacts, renderTable } from '../src/cli/tables.js';
import type { MemberStatus, VolumeState, VolumeStatus } from '../src/volume/index.js';

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
  static override flags = { 'as-raw': asRawFlag };

  protected async execute(): Promise<Outcome> {
    const { volumeStatus } = await import('../src/volume/index.js');
    const status = await volumeStatus(this.args.volume, this.flags['as-raw']);
    const { exitCode } = VERDICTS[status.state];
    return { result: status, exitCode, text: (paint) => describe(status, paint) };
  }
}

async function describe(status: VolumeStatus, paint: Painter): Promise<string> {
  const parts = [renderFacts(factsOf(status), paint)];
  if (status.members.length > 0) {
    const head = ['Slot', 'State', 'Image', 'Events', 'Remark'];
    parts.push(await renderTable({ head, rows: status.members.map(memberRow) }, paint));
  }
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
  if (raid === undefined) return facts;
  facts.push(
    ['RAID', `level ${raid.level}, ${raid.raidDisks} members, ${raid.layout}`],
    ['Chunk', formatSize(raid.chunkBytes)],
    ['Metadata', `md ${raid.metadataVersion}, data from ${formatSize(raid.dataOffsetBytes)}`],
    ['Events', String(raid.events)],
    ['Dirty stripes', String(status.dirtyStripes)],
  );
  return facts;
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
