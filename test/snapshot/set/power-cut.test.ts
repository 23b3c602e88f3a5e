/**
 * Power cuts of backups in a set: at every step, whatever of what was not durable is there. A backup whose end was answered is good
 * and restores to what it held; one that was cut before that is never good with something else, and can be made again.
 */
import { createHash } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../../src/crash/seeded-random.js';
import { UserError } from '../../../src/errors.js';
import { BackupReader, openSet, SetWriter } from '../../../src/snapshot/set/index.js';
import { changesAt, choicesOf, putTree, type Tree, treeOf } from '../../support/files/cut-files.js';
import { RecordedFiles, type RecordedFilesOptions } from '../../support/files/recorded-files.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { allOf, type Change, change, makeBackup } from './sets.js';

const SIZE_BYTES = 9 * 4096 - 512;
const OPTIONS = { sizeBytes: SIZE_BYTES, label: 'volume', chunkBytes: 8192 };

const folder = await temporaryFolder();
let count = 0;

interface Recording {
  readonly files: RecordedFiles;
  /** What each backup is of. */
  readonly held: ReadonlyMap<string, Uint8Array>;
}

/** A whole one, one since it, one that is given up, and that one again. */
async function recorded(seed: number, options: RecordedFilesOptions = {}): Promise<Recording> {
  const root = await newFolder();
  const directory = join(root, 'set');
  const files = new RecordedFiles(root, options);
  const random = new SeededRandom(seed);
  const model = random.bytes(SIZE_BYTES);
  const held = new Map<string, Uint8Array>();
  const backUp = async (name: string, since: string | null, changes: readonly Change[]) => {
    held.set(name, model.slice());
    await makeBackup(directory, { ...OPTIONS, name, since }, changes);
    files.mark(name);
  };
  await files.record(async () => {
    await backUp('whole', null, allOf(model, random));
    await backUp('since', 'whole', change(model, random));
    const given = await SetWriter.create(directory, { ...OPTIONS, name: 'again', since: 'since' });
    await given.put(0, random.bytes(8192));
    await given.abandon('cancelled', 'nobody wants it');
    await backUp('again', 'since', change(model, random));
  });
  return { files, held };
}

async function newFolder(): Promise<string> {
  const path = join(folder, `${count++}`);
  await mkdir(path);
  return path;
}

interface Seen {
  readonly trees: number;
  readonly wrong: string | null;
}

/** Every cut, until something is wrong. */
async function cutEverywhere({ files, held }: Recording, seed: number): Promise<Seen> {
  const random = new SeededRandom(seed);
  const seen = new Set<string>();
  let triedAt = -1;
  for (let cut = 0; cut <= files.events.length; cut++) {
    const answered = files.events
      .slice(0, cut)
      .flatMap((event) => (event.kind === 'mark' ? [event.mark] : []));
    for (const tree of treesAt(files, cut, random)) {
      const key = `${answered} ${hashOf(tree)}`;
      if (seen.has(key)) continue;
      seen.add(key);
      // It takes its time: once for each cut.
      const makesAgain = triedAt < cut;
      triedAt = cut;
      const wrong = await look(tree, held, { answered, makesAgain });
      if (wrong !== null) return { trees: seen.size, wrong: `cut before event ${cut}: ${wrong}` };
    }
  }
  return { trees: seen.size, wrong: null };
}

function* treesAt(files: RecordedFiles, cut: number, random: SeededRandom): Generator<Tree> {
  const changes = changesAt(files.events, cut);
  const open = changes.filter(({ isDurable }) => !isDurable);
  for (const choice of choicesOf(open.length, random)) {
    const kept = new Set(open.filter((_, at) => choice[at]).map(({ change }) => change));
    const there = changes.filter(({ change, isDurable }) => isDurable || kept.has(change));
    const list = there.map(({ change }) => change);
    yield treeOf(list, () => null);
    const torn = random.fork();
    if (kept.size > 0) yield treeOf(list, (change) => (kept.has(change) ? torn : null));
  }
}

function hashOf(tree: Tree): string {
  const hash = createHash('sha256');
  for (const [path, content] of [...tree].sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${path} ${content?.length ?? 'folder'}\n`).update(content ?? '');
  return hash.digest('base64');
}

/** What is wrong with it; null: nothing. */
async function look(
  tree: Tree,
  held: ReadonlyMap<string, Uint8Array>,
  { answered, makesAgain }: { readonly answered: readonly string[]; readonly makesAgain: boolean },
): Promise<string | null> {
  const root = await newFolder();
  try {
    await putTree(root, tree);
    const good = await goodOnes(join(root, 'set'));
    const lost = answered.find((name) => !good.has(name));
    if (lost !== undefined) return `${lost} is not good`;
    for (const [name, content] of good)
      if (Buffer.compare(content, held.get(name)!) !== 0) return `${name} is of something else`;
    return good.has('whole') || !makesAgain ? null : await makeAgain(join(root, 'set'));
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** The first one, of which nothing is good. */
async function makeAgain(directory: string): Promise<string | null> {
  const content = new Uint8Array(SIZE_BYTES).fill(5);
  const all = { offset: 0, length: SIZE_BYTES, content };
  try {
    await makeBackup(directory, { ...OPTIONS, name: 'whole' }, [all]);
  } catch (error) {
    return `it cannot be made again: ${error}`;
  }
  const again = (await goodOnes(directory)).get('whole');
  return again !== undefined && Buffer.compare(again, content) === 0
    ? null
    : 'it was made again, and is not good';
}

/** What the good ones restore to. */
async function goodOnes(directory: string): Promise<Map<string, Uint8Array>> {
  const good = new Map<string, Uint8Array>();
  try {
    const set = await openSet(directory);
    for (const { name, state } of await set.list()) {
      if (state !== 'good') continue;
      const reader = await BackupReader.open(set, name);
      const content = new Uint8Array(reader.size);
      await reader.read(0, content).finally(() => reader.close());
      good.set(name, content);
    }
  } catch (error) {
    // A set that was cut while it was made. What is good can be read, or it is missed.
    if (!(error instanceof UserError)) throw error;
  }
  return good;
}

describe('whatever a power cut leaves of a set', () => {
  const seed = Number(process.env.HOLDFAST_SEED ?? 1);

  it('what was answered is good, and nothing else is that should not be', async () => {
    const { trees, wrong } = await cutEverywhere(await recorded(seed), seed);
    console.log(`${trees} different folders`);
    expect(wrong).toBeNull();
    expect(trees).toBeGreaterThan(200);
  });

  it.each([
    ['the content', /\/data$/],
    ['the list of its pieces', /\/pieces$/],
    ['what says that it is good', /backup\.json\.new$/],
    ['its folder', /\/set\/\w+$/],
    ['the folder of the set', /\/set$/],
    ['what the set is', /set\.json$/],
  ])('it is not so where %s is not made durable', async (_, path) => {
    const recording = await recorded(seed, { keepsSync: (each) => !path.test(each) });
    expect((await cutEverywhere(recording, seed)).wrong).not.toBeNull();
  });
});
