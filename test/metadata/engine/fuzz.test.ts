/**
 * Every field of every structure at its extremes, in both copies, with its checksums left wrong and made right again, up
 * to the root. Whatever lies there, the engine opens or is refused with an error that a user can act on, and so is every
 * read; nothing with a wrong checksum is believed.
 */
import { crc32c } from '@node-rs/crc32';
import { beforeAll, describe, expect, it } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { list, put } from '../../../src/lab/self/metadata/model.js';
import { checkEngine } from '../../../src/metadata/engine/check-engine.js';
import * as fields from '../../../src/metadata/engine/fields.js';
import { PAGE_BYTES, rootOffset } from '../../../src/metadata/engine/layout.js';
import { type Field, fieldBytes } from '../../../src/structure.js';
import { chosenSeed, SeededRandom } from '../../support/devices/seeded-random.js';
import { bytesAt, type EngineStage, fill, stage } from './support.js';

const random = new SeededRandom(chosenSeed());
const CODES = ['METADATA_DAMAGED', 'UNSUPPORTED', 'VOLUME_NOT_FOUND', 'PERMISSION_DENIED'];

/** One half, and where its newest things are. */
interface Subject {
  readonly stage: EngineStage;
  readonly half: Uint8Array;
  readonly entries: readonly string[];
  readonly root: number;
  readonly top: number;
  readonly record: number;
}

/** `keys`: so many that the topmost page is a leaf, or a branch. */
async function subject(keys: number): Promise<Subject> {
  const own = await stage();
  const engine = await own.open();
  await fill(engine, keys);
  await engine.commit([put('log', '1')]);
  const root = rootOffset(engine.generation);
  const entries = await list(engine);
  await engine.close();
  const half = await bytesAt(own.memory, own.at(0, 0), own.layout.halfBytes);
  const view = fields.METADATA_ROOT.at(half, root);
  const top = own.layout.pagesOffset + view.number('page') * PAGE_BYTES;
  const record = own.layout.logOffset + (Number(view.big('log_position')) % own.layout.logBytes);
  return { stage: own, half, entries, root, top, record };
}

/** Checksums from the bottom up: a page's, the root's of it, the root's own, the record's, the header's. */
function seal(half: Uint8Array, { root, top, record }: Subject): void {
  const set = (at: number, from: number, to: number) =>
    new DataView(half.buffer).setUint32(at, crc32c(half.subarray(from, to)), true);
  set(top, top + 4, top + PAGE_BYTES);
  const rootView = fields.METADATA_ROOT.at(half, root);
  rootView.setNumber('page_checksum', fields.METADATA_PAGE.at(half, top).number('checksum'));
  set(root, root + 4, root + 512);
  const length = fields.METADATA_LOG_RECORD.at(half, record).number('length');
  set(record, record + 4, Math.min(record + Math.max(length, 4), half.byteLength));
  set(508, 0, 508);
}

async function putBoth({ memory, at }: EngineStage, half: Uint8Array): Promise<void> {
  for (const copy of [0, 1]) await memory.write(at(copy, 0), half);
}

/** null: refused, in words for the user, by the opening or by a read. */
async function read({ open }: EngineStage): Promise<string[] | null> {
  try {
    const engine = await open({ readOnly: true });
    return await list(engine);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(CODES).toContain(error.code);
    expect(error.message).toMatch(/^meta\.img: /);
    return null;
  }
}

async function look(own: EngineStage): Promise<string[] | null> {
  const found = await read(own);
  try {
    await checkEngine(own.range);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(found).toBeNull();
  }
  return found;
}

function extremes(field: Field): bigint[] {
  const top = 1n << BigInt(8 * fieldBytes(field) - 1);
  return field.type === 'bytes'
    ? [0n, 0xffn, 0x80n]
    : [0n, 1n, 2n, 3n, top - 1n, top, 2n * top - 1n, BigInt(random.below(2 ** 31))];
}

function store(half: Uint8Array, at: number, field: Field, value: bigint): void {
  const size = fieldBytes(field);
  for (let byte = 0; byte < size; byte++)
    half[at + field.offset + byte] = Number(
      field.type === 'bytes' ? value : (value >> BigInt(8 * byte)) & 0xffn,
    );
}

const PLACES = [
  { structure: fields.METADATA_HEADER, of: 'leaf', at: () => 0 },
  { structure: fields.METADATA_ROOT, of: 'leaf', at: ({ root }: Subject) => root },
  { structure: fields.METADATA_PAGE, of: 'leaf', at: ({ top }: Subject) => top },
  { structure: fields.METADATA_PAGE, of: 'branch', at: ({ top }: Subject) => top },
  { structure: fields.METADATA_ENTRY, of: 'leaf', at: ({ top }: Subject) => top + 64 },
  { structure: fields.METADATA_CHILD, of: 'branch', at: ({ top }: Subject) => top + 64 },
  { structure: fields.METADATA_LOG_RECORD, of: 'leaf', at: ({ record }: Subject) => record },
  { structure: fields.METADATA_ENTRY, of: 'leaf', at: ({ record }: Subject) => record + 64 },
] as const;
const FIELDS = PLACES.flatMap(({ structure, of, at }, index) =>
  (structure.fields as readonly Field[]).map((field) => ({
    name: `${index}: ${structure.name} ${field.name} (${of})`,
    field,
    of,
    at,
  })),
);

const subjects: Record<string, Subject> = {};
beforeAll(async () => {
  subjects.leaf = await subject(50);
  subjects.branch = await subject(900);
});

it('unchanged it reads, sealed anew too', async () => {
  for (const own of Object.values(subjects)) {
    const half = own.half.slice();
    seal(half, own);
    expect(Buffer.compare(half, own.half)).toBe(0);
    await putBoth(own.stage, half);
    expect(await look(own.stage)).toEqual(own.entries);
  }
});

describe.each(FIELDS)('$name at its extremes', ({ name, field, of, at }) => {
  it('with wrong checksums is not believed', async () => {
    const own = subjects[of]!;
    for (const value of extremes(field)) {
      const half = own.half.slice();
      store(half, at(own), field, value);
      if (Buffer.compare(half, own.half) === 0) continue;
      await putBoth(own.stage, half);
      const found = await look(own.stage);
      // The last record of the log cannot be told from one that was torn.
      if (name.startsWith('6') || name.startsWith('7'))
        expect([null, own.entries.filter((entry) => !entry.startsWith('6c6f67'))]).toContainEqual(found);
      else expect(found).toBeNull();
    }
  });

  it('with right checksums it is believed or refused in words', async () => {
    const own = subjects[of]!;
    for (const value of extremes(field)) {
      const half = own.half.slice();
      store(half, at(own), field, value);
      if (field.name !== 'checksum') seal(half, own);
      await putBoth(own.stage, half);
      await look(own.stage);
    }
  });
});

it('with two fields at random values it opens or is refused, and what opens can be written or says why not', async () => {
  const outcomes = new Set<string>();
  for (let count = 0; count < 150; count++) {
    const { of } = random.pick(FIELDS);
    const own = subjects[of]!;
    const half = own.half.slice();
    for (const { field, at } of [0, 1].map(() => random.pick(FIELDS.filter((each) => each.of === of))))
      store(
        half,
        at(own),
        field,
        random.chance(0.5)
          ? BigInt(random.below(4))
          : BigInt(random.below(2 ** 32)) << BigInt(random.below(32)),
      );
    seal(half, own);
    await putBoth(own.stage, half);
    outcomes.add((await look(own.stage)) === null ? 'refused' : 'opens');
    outcomes.add(await write(own.stage));
  }
  expect([...outcomes].sort()).toEqual(['opens', 'refused', 'written']);
});

async function write({ open }: EngineStage): Promise<string> {
  try {
    const engine = await open();
    await engine.commit([put('more', '1')]);
    await engine.checkpoint();
    await engine.close();
    return 'written';
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return 'refused';
  }
}
