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
import { damaged, type Half, type Warn } from './findings.js';
import type { PageMap } from './free-pages.js';
import { type Check, type Checked, type Copy, Halves, type Place } from './halves.js';
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
export async function readEngine(range: EngineRange, warn: Warn): Promise<FoundEngine> {
  const mends: Mend[] = [];
  const { halves, header } = await readHeader(range, mends, warn);
  const root = await readRoot(halves, header, mends);
  const map = await readAllocation(halves, header, root, mends, warn);
  const log = await readLog(halves, header.layout, header.uuid, root);
  for (const { copy, place, good } of log.badCopies) {
    // The last one was on its way when the power went, if it went: that is no damage.
    const isLast = copy === log.badCopies.at(-1)?.copy && isLastRecord(log, good);
    if (!isLast) warn(halves.finding(copy, place));
    mends.push({
      half: copy.half,
      offset: place.offset,
      bytes: good,
      logPosition: place.offset - header.layout.logOffset,
    });
  }
  return { halves, header, root, map, log, mends };
}

function isLastRecord({ head, records }: LogReading, good: Uint8Array): boolean {
  const last = records.at(-1);
  return (
    last !== undefined &&
    last.position + good.byteLength === head.position &&
    good.byteLength === last.lengthBytes
  );
}

export async function readHeader(
  range: EngineRange,
  mends: Mend[],
  warn: Warn,
): Promise<{ halves: Halves; header: Header }> {
  const guess = new Halves(range);
  const first = await guess.copy('A', HEADER_PLACE, decodeHeader);
  const halfBytes = 'good' in first.checked ? first.checked.good.layout.halfBytes : guess.halfBytes;
  // What A says may lead out of the range: then it is no header.
  const isWithin = halfBytes > 0 && 2 * halfBytes <= range.length;
  const halves = new Halves(range, isWithin ? halfBytes : guess.halfBytes);
  const second = await halves.copy('B', HEADER_PLACE, decodeHeader);
  const copies = [first, second];
  const header = headerOf(range, halves, copies);
  for (const copy of copies) {
    if ('good' in copy.checked) continue;
    warn(halves.finding(copy, HEADER_PLACE));
    const good = copies.find(({ checked }) => 'good' in checked)!;
    mends.push({ half: copy.half, offset: HEADER_PLACE.offset, bytes: good.bytes });
  }
  return { halves, header };
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

async function readRoot(halves: Halves, { uuid, layout }: Header, mends: Mend[]): Promise<Root> {
  const slots = Array.from({ length: ROOT_SLOTS }, async (_, slot) => {
    const place = rootPlace(slot);
    return { place, copies: await halves.both(place, (bytes) => decodeRoot(bytes, { uuid, layout, slot })) };
  });
  const read = await Promise.all(slots);
  let newest: { root: Root; copy: Copy<Root>; place: Place; copies: readonly Copy<Root>[] } | null = null;
  for (const { place, copies } of read) {
    for (const copy of copies) {
      if (!('good' in copy.checked)) continue;
      const root = copy.checked.good;
      if (newest === null || root.generation > newest.root.generation) newest = { root, copy, place, copies };
    }
  }
  if (newest === null) throw halves.damage(read[0]!.copies, read[0]!.place);
  const { root, copy, place } = newest;
  for (const other of newest.copies) {
    // The other copy of the slot may be good, and of the root before last.
    const isSame = 'good' in other.checked && other.checked.good.generation === root.generation;
    if (!isSame) mends.push({ half: other.half, offset: place.offset, bytes: copy.bytes });
  }
  return root;
}

async function readAllocation(
  halves: Halves,
  { uuid, layout }: Header,
  root: Root,
  mends: Mend[],
  warn: Warn,
): Promise<PageMap> {
  const pieces: Uint8Array[] = [];
  for (let piece = 0; piece < layout.allocationPages; piece++) {
    const place = allocationPlace(layout, root.generation, piece);
    pieces.push(
      await readAndMend(halves, place, (bytes) => checkAllocation(bytes, uuid, root, piece), mends, warn),
    );
  }
  const map = pageMapOf(pieces, layout, root);
  if (map !== null) return map;
  const place = allocationPlace(layout, root.generation, 0);
  throw damaged(halves.range, halves.offsetIn('A', place.offset), `${place.what} does not fit its root,`);
}

/** Both copies are looked at, so that a bad one is known while there is a good one. */
async function readAndMend<T>(
  halves: Halves,
  place: Place,
  check: Check<T>,
  mends: Mend[],
  warn: Warn,
): Promise<T> {
  const copies = await halves.both(place, check);
  const good = copies.find(({ checked }) => 'good' in checked);
  if (good === undefined) throw halves.damage(copies, place);
  for (const copy of copies) {
    if ('good' in copy.checked) continue;
    warn(halves.finding(copy, place));
    mends.push({ half: copy.half, offset: place.offset, bytes: good.bytes });
  }
  return (good.checked as Extract<Checked<T>, { good: T }>).good;
}

/** Writes what is to be mended, and flushes: it is as durable then as the copy that it was made from. */
export async function mendCopies({ halves, header, mends }: FoundEngine): Promise<void> {
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
