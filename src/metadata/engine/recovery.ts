/**
 * Reads an engine as an opening needs it: header, newest root, its allocation map, and the log. Never the tree. Writes
 * nothing; copies that are no good and have a good one beside them are named, so that an opening for writing can mend
 * them.
 *
 * Newest of the roots is the one with the highest generation that is good in either half: the pages that it names were
 * flushed before it was written. After a crash it may be in one half alone.
 */
import { UserError } from '../../errors.js';
import { allocationPlace, checkAllocation, pageMapOf } from './allocation.js';
import { damaged, type Half, type MetadataFinding } from './findings.js';
import type { PageMap } from './free-pages.js';
import { type Copy, Halves, type Place } from './halves.js';
import { decodeHeader, HEADER_PLACE, type Header, hasHeaderMagic } from './header.js';
import { type EngineRange, ROOT_SLOTS } from './layout.js';
import { type LogReading, readLog } from './log-reader.js';
import { decodeRoot, type Root, rootPlace } from './root.js';

/** A copy that is to be what the other one is. */
export interface Mend {
  readonly half: Half;
  /** Of a log record: it may go over the end of the log's place. */
  readonly logPosition?: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly finding: MetadataFinding;
  /** It was being written when the power went, or so it seems: that is no damage. */
  readonly isOfCrash: boolean;
}

export interface FoundEngine {
  readonly halves: Halves;
  readonly header: Header;
  readonly root: Root;
  readonly map: PageMap;
  readonly log: LogReading;
  readonly mends: readonly Mend[];
}

/** Throws VOLUME_NOT_FOUND where there is no engine, UNSUPPORTED for a later one, METADATA_DAMAGED. */
export async function readEngine(range: EngineRange): Promise<FoundEngine> {
  const { halves, header, mends: ofHeader } = await readHeader(range);
  const { root, mends: ofRoot } = await readRoot(halves, header);
  const { map, mends: ofMap } = await readAllocation(halves, header, root);
  const log = await readLog(halves, header.layout, header.uuid, root);
  const mends = [...ofHeader, ...ofRoot, ...ofMap, ...logMends(halves, header, log)];
  return { halves, header, root, map, log, mends };
}

export function logMends(halves: Halves, { layout }: Header, { badCopies, head }: LogReading): Mend[] {
  return badCopies.map(({ copy, place, good, record }) => ({
    half: copy.half,
    offset: place.offset,
    logPosition: place.offset - layout.logOffset,
    bytes: good,
    finding: halves.finding(copy, place),
    isOfCrash: record.position + record.lengthBytes === head.position,
  }));
}

export async function readHeader(
  range: EngineRange,
): Promise<{ halves: Halves; header: Header; mends: Mend[] }> {
  const guess = new Halves(range);
  const first = await guess.copy('A', HEADER_PLACE, decodeHeader);
  const halfBytes = 'good' in first.checked ? first.checked.good.layout.halfBytes : guess.halfBytes;
  // What A says may lead out of the range: then the other half is where the range has it.
  const isWithin = halfBytes > 0 && 2 * halfBytes <= range.length;
  const halves = new Halves(range, isWithin ? halfBytes : guess.halfBytes);
  const copies = [first, await halves.copy('B', HEADER_PLACE, decodeHeader)];
  const header = headerOf(range, halves, copies);
  return { halves, header, mends: mendsOf(halves, HEADER_PLACE, copies) };
}

/** Where one of the copies is good, the others are to be what it is. */
export function mendsOf<T>(halves: Halves, place: Place, copies: readonly Copy<T>[]): Mend[] {
  const good = copies.find(({ checked }) => 'good' in checked);
  if (good === undefined) return [];
  const { bytes } = good;
  return copies
    .filter(({ checked }) => 'bad' in checked)
    .map((copy) => {
      const finding = halves.finding(copy, place);
      return { half: copy.half, offset: place.offset, bytes, finding, isOfCrash: false };
    });
}

function headerOf(range: EngineRange, halves: Halves, copies: readonly Copy<Header>[]): Header {
  const good = copies.flatMap(({ checked }) => ('good' in checked ? [checked.good] : []));
  const [header, other] = good;
  if (header === undefined) {
    const isThere = copies.some(({ bytes, error }) => error !== null || hasHeaderMagic(bytes));
    if (isThere) throw halves.damage(copies, HEADER_PLACE);
    throw new UserError(
      'VOLUME_NOT_FOUND',
      `${range.device.name}: there is no metadata at offset ${range.offset}`,
      {
        details: { image: range.device.name, offsetBytes: range.offset },
      },
    );
  }
  expectKnown(range, header);
  if (other !== undefined && Buffer.compare(header.uuid, other.uuid) !== 0)
    throw damaged(range, range.offset, 'the two halves of the metadata are of different engines; they begin');
  if (2 * header.layout.halfBytes > range.length)
    throw damaged(
      range,
      range.offset,
      `the metadata is cut short: of ${2 * header.layout.halfBytes} bytes ${range.length} are there,`,
    );
  return header;
}

function expectKnown(range: EngineRange, { version, incompat }: Header): void {
  if (version === 1 && incompat === 0) return;
  const what =
    version !== 1
      ? `version ${version}`
      : `features that are not known here: incompat 0x${incompat.toString(16)}`;
  throw new UserError(
    'UNSUPPORTED',
    `${range.device.name}: the metadata at offset ${range.offset} has ${what}`,
    {
      hint: 'A later holdfast made it: use that one.',
      details: { image: range.device.name, offsetBytes: range.offset, version, incompat },
    },
  );
}

export async function readRoot(
  halves: Halves,
  { uuid, layout }: Header,
): Promise<{ root: Root; mends: Mend[] }> {
  const found: { root: Root; copy: Copy<Root>; place: Place; copies: readonly Copy<Root>[] }[] = [];
  let damage: unknown;
  for (let slot = 0; slot < ROOT_SLOTS; slot++) {
    const place = rootPlace(slot);
    const copies = await halves.both(place, (bytes) => decodeRoot(bytes, { uuid, layout, slot }));
    damage = halves.damage(copies, place);
    for (const copy of copies)
      if ('good' in copy.checked) found.push({ root: copy.checked.good, copy, place, copies });
  }
  if (found.length === 0) throw damage;
  const newest = found.reduce((best, each) => (each.root.generation > best.root.generation ? each : best));
  const { root, copy, place, copies } = newest;
  // The other copy of the slot may be good, and of the root before last.
  const others = copies.filter(
    ({ checked }) => 'bad' in checked || checked.good.generation !== root.generation,
  );
  const mends = others.map((other) => {
    const finding = halves.finding(other, place);
    return { half: other.half, offset: place.offset, bytes: copy.bytes, finding, isOfCrash: true };
  });
  return { root, mends };
}

/** Both copies are looked at, so that a bad one is known while there is a good one. */
export async function readAllocation(
  halves: Halves,
  { uuid, layout }: Header,
  root: Root,
): Promise<{ map: PageMap; mends: Mend[] }> {
  const pieces: Uint8Array[] = [];
  const mends: Mend[] = [];
  for (let piece = 0; piece < layout.allocationPages; piece++) {
    const place = allocationPlace(layout, root.generation, piece);
    const copies = await halves.both(place, (bytes) => checkAllocation(bytes, uuid, root, piece));
    const good = copies.flatMap(({ checked }) => ('good' in checked ? [checked.good] : []))[0];
    if (good === undefined) throw halves.damage(copies, place);
    pieces.push(good);
    mends.push(...mendsOf(halves, place, copies));
  }
  const map = pageMapOf(pieces, layout, root);
  if (map !== null) return { map, mends };
  const place = allocationPlace(layout, root.generation, 0);
  throw damaged(halves.range, halves.offsetIn('A', place.offset), `${place.what} does not fit its root,`);
}

/** Writes what is to be mended, and flushes: it is as durable then as the copy that it was made from. */
export async function mendCopies(
  { halves, header }: Pick<FoundEngine, 'halves' | 'header'>,
  mends: readonly Mend[],
): Promise<void> {
  if (mends.length === 0) return;
  const { logOffset, logBytes } = header.layout;
  for (const { half, offset, bytes, logPosition } of mends) {
    const first =
      logPosition === undefined ? bytes.byteLength : Math.min(bytes.byteLength, logBytes - logPosition);
    await halves.mend(half, offset, bytes.subarray(0, first));
    if (first < bytes.byteLength) await halves.mend(half, logOffset, bytes.subarray(first));
  }
  await halves.flush();
}
