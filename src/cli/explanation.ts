/** `replica status --explain`, for people: how two sides came to differ, and what can be done. */
import type { ChangedBlocks, Explanation, ReplicaExplanation } from '../volume/index.js';
import { printableLine } from './printable.js';
import { counted, formatSize } from './sizes.js';

type Line = readonly [what: string, text: string];
type Generation = ReplicaExplanation['here']['generation'];

export function renderExplanation({ replicas, former }: Explanation): string {
  const parts = replicas.map(replicaText);
  if (former !== null) parts.push(formerText(former));
  return parts.length === 0 ? 'no replicas' : parts.join('\n\n');
}

export function describeWritten({ blocks, trouble }: ChangedBlocks): string {
  if (blocks === null) return `not known: ${trouble}`;
  return trouble === null
    ? counted(blocks, 'block')
    : `${counted(blocks, 'block')} (${printableLine(trouble)})`;
}

function replicaText(one: ReplicaExplanation): string {
  const { name, to, state, relation, awaySinceMs, here, there, whyNot, advice } = one;
  const lines: Line[] = [
    ['relation', relationText(one)],
    ['generations', `here ${generationText(here.generation)}; ${thereText(one)}`],
    ['since', sinceText(awaySinceMs, there)],
    ['changed here', written(here.written)],
  ];
  if (there?.written != null) lines.push(['changed there', written(there.written)]);
  if (there?.putBack?.blocks != null && there.putBack.blocks > 0)
    lines.push(['put back', `${written(there.putBack)}, there, when it was promoted`]);
  if (there?.state === 'promoted' && there.written === null)
    lines.push(['changed there', `not known: ${printableLine(whyNot ?? 'it was not tracked')}`]);
  lines.push(['differ', differText(one)], ['to do', advice]);
  return [
    `replica ${printableLine(name)} at ${printableLine(to)}: ${state}${relation === 'unknown' ? ', not to be looked at' : ''}`,
    ...lines.map(lineText),
  ].join('\n');
}

function formerText({
  sinceMs,
  generation,
  parent,
  written: own,
  putBack,
  advice,
}: NonNullable<Explanation['former']>): string {
  const lines: Line[] = [
    [
      'generations',
      `here ${generationText(generation)}${parent === null ? '' : `, from ${generationText(parent)}`}`,
    ],
    ['since', timeText(sinceMs)],
    ['changed here', written(own)],
    ['put back', written(putBack)],
    ['to do', advice],
  ];
  return ['this volume was a secondary, and was promoted', ...lines.map(lineText)].join('\n');
}

const RELATIONS: Readonly<Record<ReplicaExplanation['relation'], string>> = {
  same: 'it is a secondary of this volume, as it was',
  ahead: 'it was promoted; this volume has written nothing that it has not',
  diverged: 'it was promoted, and both sides were or may have been written',
  unrelated: 'it is a secondary of another volume',
  unknown: 'not known',
};

function relationText({ relation, there, whyNot }: ReplicaExplanation): string {
  return whyNot === null || there !== null
    ? RELATIONS[relation]
    : `${RELATIONS[relation]}: ${printableLine(whyNot)}`;
}

function thereText({ there }: ReplicaExplanation): string {
  if (there === null) return 'there not known';
  const text = `there ${generationText(there.generation)}`;
  return there.promotedAtMs === null || there.parent === null
    ? text
    : `${text}, from ${generationText(there.parent)}`;
}

function sinceText(awaySinceMs: number | null, there: ReplicaExplanation['there']): string {
  const away = awaySinceMs === null ? 'not away, as far as is known' : `away since ${timeText(awaySinceMs)}`;
  if (there === null) return away;
  const { point, promotedAtMs } = there;
  const last = point.atMs === 0 ? '' : `; its last point is epoch ${point.epoch}, ${timeText(point.atMs)}`;
  return `${away}${last}${promotedAtMs === null ? '' : `; promoted ${timeText(promotedAtMs)}`}`;
}

function differText({ differingBlocks, differingBytes }: ReplicaExplanation): string {
  if (differingBlocks === null || differingBytes === null) return 'not known';
  return `${counted(differingBlocks, 'block')}, ${formatSize(differingBytes)}`;
}

function written(changed: ChangedBlocks): string {
  const { ranges, moreRanges } = changed;
  const listed = ranges.map(({ offsetBytes, lengthBytes }) => `${lengthBytes} at ${offsetBytes}`);
  if (moreRanges > 0) listed.push(`and ${counted(moreRanges, 'range')} more`);
  return [describeWritten(changed), ...(listed.length === 0 ? [] : [listed.join(', ')])].join(': ');
}

function generationText({ number, id }: Generation): string {
  return `${number} (${id.slice(0, 8)})`;
}

function timeText(ms: number): string {
  return new Date(ms).toISOString();
}

function lineText([what, text]: Line): string {
  return `  ${what.padEnd(14)}${text}`;
}
