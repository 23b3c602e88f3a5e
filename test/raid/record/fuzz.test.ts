/**
 * Every field of a record at its extremes, with its checksums left wrong and made right again, in the copies that
 * count. Whatever lies there, the array opens or is refused with an error that a user can act on; nothing that is
 * dirty is taken for clean, unless the record, good in every other way, says just that.
 */
import { crc32c } from '@node-rs/crc32';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { type Range, RangeSet } from '../../../src/device/range-set.js';
import { UserError } from '../../../src/errors.js';
import { judgeDevices, SMALL } from '../../../src/lab/self/raid/arrays.js';
import type { RecordContent } from '../../../src/raid/record/codec.js';
import {
  RECORD_DIRTY,
  RECORD_HEADER,
  RECORD_IN_DOUBT,
  RECORD_SUPERBLOCK,
} from '../../../src/raid/record/fields.js';
import type { RecordPlace } from '../../../src/raid/record/places.js';
import { type Field, fieldBytes } from '../../../src/structure.js';
import { recoverArray } from '../../../src/volume/recovery.js';
import { mismatches } from '../../support/arrays.js';
import { chosenSeed, SeededRandom } from '../../support/devices/seeded-random.js';
import { type CrashedArray, crashedArray, eraseRecords, putRecord, rowsOf } from './support/crashed-array.js';
import { newestOn, openFor, placesOf } from './support/watched-array.js';

const DIRTY = [2, 5];
const HEADER_BYTES = RECORD_HEADER.sizeBytes;
const ENTRY_BYTES = 16;
const SECTOR_BYTES = 512;
const END = SMALL.stripes * SMALL.chunkBytes;
/** The two members that hold the record, and nothing else does. */
const HOLDERS = [0, 2];

const random = new SeededRandom(chosenSeed());
let array: CrashedArray;
let record: RecordContent;
let places: RecordPlace[];
let original: Uint8Array;

beforeAll(async () => {
  array = await crashedArray(random, DIRTY);
  record = { ...(await newestOn(array.bases)), inDoubt: [{ start: 0, end: SECTOR_BYTES }] };
  places = await placesOf(array.bases);
  await eraseRecords(array.bases);
  for (const member of HOLDERS) await putRecord(array.bases, [member, 0], record);
  original = new Uint8Array(places[0]!.slotBytes);
  await places[0]!.device.read(places[0]!.offset, original);
});

function seal(bytes: Uint8Array): void {
  const header = RECORD_HEADER.at(bytes);
  header.setNumber('checksum', 0);
  header.setNumber('header_checksum', 0);
  header.setNumber('header_checksum', crc32c(bytes.subarray(0, HEADER_BYTES)));
  const length = Math.min(header.number('length'), bytes.length);
  header.setNumber('checksum', crc32c(bytes.subarray(0, length)));
}

async function putBoth(bytes: Uint8Array): Promise<void> {
  for (const member of HOLDERS) await places[member]!.device.write(places[member]!.offset, bytes);
}

/** null: refused, in words for the user. */
async function suspectRows(
  bases: readonly MemoryDevice[],
): Promise<{ rows: readonly Range[]; isValid: boolean } | null> {
  try {
    const { core, record: found } = await openFor(bases, { readOnly: true });
    return { rows: core.suspect.list(), isValid: found.chosen.verdict === 'valid' };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error).toMatchObject({ code: 'NOT_ASSEMBLED', message: expect.stringMatching(/record/) });
    return null;
  }
}

/** What the lists say, read without the code that is tested. */
function saidBy(bytes: Uint8Array): Range[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const [superblocks, dirty, inDoubt] = [68, 72, 76].map((at) => view.getUint32(at, true)) as [
    number,
    number,
    number,
  ];
  const said = new RangeSet();
  for (let index = superblocks; index < superblocks + dirty + inDoubt; index++) {
    const at = HEADER_BYTES + index * ENTRY_BYTES;
    const unit = index < superblocks + dirty ? SMALL.chunkBytes : SECTOR_BYTES;
    const start = Number(view.getBigUint64(at, true)) * unit;
    said.add(start, start + Number(view.getBigUint64(at + 8, true)) * unit);
  }
  return said.within(0, END);
}

async function check(bytes: Uint8Array, what: string): Promise<'refused' | 'valid' | 'all'> {
  await putBoth(bytes);
  const found = await suspectRows(array.bases);
  if (found === null) return 'refused';
  if (found.isValid) expect(found.rows, what).toEqual(saidBy(bytes));
  else expect(found.rows, what).toEqual([{ start: 0, end: END }]);
  return found.isValid ? 'valid' : 'all';
}

function extremes(field: Field, size: number): bigint[] {
  const top = 1n << BigInt(8 * size - 1);
  const known = [0n, 1n, 2n, 4n, top - 1n, top, 2n * top - 1n, BigInt(random.below(2 ** 31))];
  return field.type === 'bytes' ? [0n, 0xffn, 0x80n] : known;
}

function store(bytes: Uint8Array, at: number, field: Field, value: bigint): void {
  const size = fieldBytes(field);
  if (field.type === 'bytes') bytes.fill(Number(value), at + field.offset, at + field.offset + size);
  else
    for (let byte = 0; byte < size; byte++)
      bytes[at + field.offset + byte] = Number((value >> BigInt(8 * byte)) & 0xffn);
}

/** Where each structure lies in the record: four hashes, two stripes, one range in doubt. */
const STRUCTURES = [
  { structure: RECORD_HEADER, at: [0] },
  { structure: RECORD_SUPERBLOCK, at: [0, 3].map((index) => HEADER_BYTES + index * ENTRY_BYTES) },
  { structure: RECORD_DIRTY, at: [4, 5].map((index) => HEADER_BYTES + index * ENTRY_BYTES) },
  { structure: RECORD_IN_DOUBT, at: [6].map((index) => HEADER_BYTES + index * ENTRY_BYTES) },
];
const FIELDS = STRUCTURES.flatMap(({ structure, at }) =>
  (structure.fields as readonly Field[]).map((field) => ({
    name: `${structure.name} ${field.name}`,
    field,
    at,
  })),
);

it('unchanged it counts, and says what it says', async () => {
  expect(record.superblocks).toHaveLength(4);
  expect(await check(original, 'unchanged')).toBe('valid');
  expect(saidBy(original)).toEqual([{ start: 0, end: SECTOR_BYTES }, ...rowsOf(DIRTY)]);
});

describe.each(FIELDS)('$name at its extremes', ({ name, field, at }) => {
  const isChecksum = name.endsWith('checksum');

  it('with wrong checksums is no record', async () => {
    for (const base of at) {
      for (const value of extremes(field, fieldBytes(field))) {
        const bytes = original.slice();
        store(bytes, base, field, value);
        if (Buffer.compare(bytes, original) === 0) continue;
        expect(await check(bytes, `${name} is ${value}`)).toBe('all');
      }
    }
  });

  it('with right checksums is believed only in what it says', async () => {
    for (const base of at) {
      for (const value of extremes(field, fieldBytes(field))) {
        const bytes = original.slice();
        store(bytes, base, field, value);
        if (!isChecksum) seal(bytes);
        await check(bytes, `${name} is ${value}`);
      }
    }
  });
});

it('with two fields at random values it opens or is refused, and is never believed in more than it says', async () => {
  const outcomes = new Set<string>();
  for (let count = 0; count < 200; count++) {
    const bytes = original.slice();
    for (const { field, at } of [random.pick(FIELDS), random.pick(FIELDS)]) {
      const value = random.chance(0.5)
        ? BigInt(random.below(4))
        : (BigInt(random.below(2 ** 32)) << 32n) | BigInt(random.below(2 ** 32));
      store(bytes, random.pick(at), field, value);
    }
    if (random.chance(0.9)) seal(bytes);
    outcomes.add(await check(bytes, `seed ${random.seed}, ${count}`));
  }
  expect([...outcomes].sort()).toEqual(['all', 'refused', 'valid']);
});

describe('an array whose record is damaged in any way', () => {
  /** The members as they are now. */
  async function copies(): Promise<MemoryDevice[]> {
    return Promise.all(
      array.bases.map(async (base) => {
        const copy = new MemoryDevice(base.size, { name: base.name });
        const bytes = new Uint8Array(base.size);
        await base.read(0, bytes);
        await copy.write(0, bytes);
        return copy;
      }),
    );
  }

  const flip = (bytes: Uint8Array, at: number): void => {
    bytes[at] = bytes[at]! ^ 1;
  };
  const DAMAGES: [string, (bytes: Uint8Array) => void][] = [
    ['a wrong checksum', (bytes) => flip(bytes, HEADER_BYTES)],
    ['a wrong header', (bytes) => flip(bytes, RECORD_HEADER.offsetOf('generation'))],
    ['noise for lists', (bytes) => void bytes.fill(0xa5, HEADER_BYTES)],
    [
      'the hash of another superblock',
      (bytes) => {
        flip(bytes, HEADER_BYTES + RECORD_SUPERBLOCK.offsetOf('hash'));
        seal(bytes);
      },
    ],
    [
      'the last of all generations',
      (bytes) => {
        RECORD_HEADER.at(bytes).setBig('generation', 2n ** 64n - 1n);
        seal(bytes);
      },
    ],
    [
      'a generation far ahead, and void',
      (bytes) => {
        RECORD_HEADER.at(bytes).setBig('generation', 2n ** 62n);
        flip(bytes, HEADER_BYTES + RECORD_SUPERBLOCK.offsetOf('hash'));
        seal(bytes);
      },
    ],
  ];

  it.each(DAMAGES)('(%s) is resynced whole, and keeps good records then', async (_, damage) => {
    const bytes = original.slice();
    damage(bytes);
    await putBoth(bytes);
    const bases = await copies();
    const opened = await openFor(bases);
    const recovery = await recoverArray(opened, await judgeDevices(bases), { warn: () => undefined });
    expect(recovery).toMatchObject({ resyncedStripes: SMALL.stripes, correctedStripes: DIRTY.length });
    await opened.write(0, array.content.subarray(0, 512));
    expect(await suspectRows(bases)).toEqual({ rows: rowsOf([0]), isValid: true });
    await opened.close();
    expect(await mismatches(bases)).toEqual([]);
    expect(await suspectRows(bases)).toEqual({ rows: [], isValid: true });
  });
});
