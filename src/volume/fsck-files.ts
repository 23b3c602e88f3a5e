/** Looks into a volume of files for fsck, as far as it can be looked into, and repairs it. */
import type { CheckedFiles, EngineTrouble } from '../check/context.js';
import type { RepairName } from '../check/findings.js';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { PoolRegions } from '../extents/format/pool-regions.js';
import { checkEngine, mendEngine } from '../metadata/engine/check-engine.js';
import type { MetadataEngine } from '../metadata/engine/contract.js';
import type { MetadataFinding } from '../metadata/engine/findings.js';
import { recountEngine } from '../metadata/engine/recount-engine.js';
import { checkMetadata } from '../metadata/server/check.js';
import { rebuildIndexes } from '../metadata/server/rebuild-indexes.js';
import { separateExtents } from '../metadata/server/separate-extents.js';
import { summarize } from '../metadata/server/summary.js';
import { assertFits, engineOf } from './extents.js';
import {
  type ExtentsDevices,
  isOfExtents,
  openExtentsDevices,
  placedIn,
  tellOrMend,
} from './extents-devices.js';
import { recoverFiles } from './extents-recovery.js';
import type { Located } from './locate.js';
import type { Volume } from './model.js';

/** null: it is of another format. `device` is open for reading. */
export async function lookIntoFiles(located: Located, device: BlockDevice): Promise<CheckedFiles | null> {
  const found: { -readonly [K in keyof CheckedFiles]: CheckedFiles[K] } = {
    trouble: null,
    copies: [],
    engine: [],
    state: [],
    unfinished: 0,
    isMendable: false,
  };
  try {
    if (!(await isOfExtents(located, device))) return null;
    const devices = await openExtentsDevices(located, device, { access: 'read' });
    try {
      found.copies = placedIn(devices).flatMap(({ device: { name: image }, found: { damaged } }) =>
        damaged.map((copy) => ({ image, ...copy })),
      );
      found.engine = (await checkEngine(devices.range)).map(troubleOf);
      // What is not there cannot be held against the rest.
      if (found.engine.every(({ kind }) => kind !== 'damage'))
        Object.assign(found, await stateOf(located, devices));
    } finally {
      await devices.close();
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    found.trouble = error;
  }
  return found;
}

async function stateOf(
  located: Located,
  devices: ExtentsDevices,
): Promise<Pick<CheckedFiles, 'state' | 'unfinished' | 'isMendable'>> {
  const engine = await engineOf(devices.range, true, () => undefined);
  try {
    await assertFits(located, devices, engine);
    const state = await checkMetadata(engine);
    const { transactionsToComplete } = await summarize(engine);
    return { state, unfinished: transactionsToComplete, isMendable: await isMendable(engine, state) };
  } finally {
    await engine.close();
  }
}

/** The repairs, made in memory over what is there: whether nothing is found wrong after them. */
async function isMendable(engine: MetadataEngine, state: readonly unknown[]): Promise<boolean> {
  if (state.length === 0) return true;
  try {
    await rebuildIndexes(engine);
    await separateExtents(engine, async () => {});
    return (await checkMetadata(engine)).length === 0;
  } catch (error) {
    // No room for a copy, say, or a record that cannot be read: then what was found stays as it is.
    if (error instanceof UserError) return false;
    throw error;
  }
}

const COUNTS: readonly string[] = ['PAGE_LEAKED', 'COUNT_WRONG'];

function troubleOf(finding: MetadataFinding): EngineTrouble {
  const { code } = finding;
  const kind = code.endsWith('_COPY_DAMAGED') ? 'copy' : COUNTS.includes(code) ? 'count' : 'damage';
  return { ...finding, kind };
}

/** What each repair of files does; the volume is open for writing. */
export const FILE_REPAIRS: readonly (readonly [
  RepairName,
  (volume: Volume, warn: (message: string) => void) => Promise<unknown>,
])[] = [
  [
    'mend-metadata',
    (volume, warn) =>
      withDevices(volume, async (devices) => {
        await tellOrMend(devices, 'write', warn);
        await mendEngine(devices.range);
        await recountEngine(devices.range);
      }),
  ],
  ['rebuild-indexes', (volume, warn) => withEngine(volume, warn, (engine) => rebuildIndexes(engine))],
  [
    'separate-extents',
    (volume, warn) =>
      withEngine(volume, warn, (engine, { pool }) =>
        separateExtents(engine, (from, to) => copyExtent(pool, from, to)),
      ),
  ],
  ['complete-transactions', (volume, warn) => recoverFiles(volume, warn)],
];

function withEngine(
  volume: Volume,
  warn: (message: string) => void,
  use: (engine: MetadataEngine, devices: ExtentsDevices) => Promise<void>,
): Promise<void> {
  return withDevices(volume, async (devices) => {
    const engine = await engineOf(devices.range, false, warn);
    try {
      await use(engine, devices);
    } finally {
      await engine.close();
    }
  });
}

/** Bytes that a copy has in memory at a time. */
const COPY_BYTES = 1024 * 1024;

async function copyExtent(pool: PoolRegions, from: number, to: number): Promise<void> {
  const [source, target] = [pool.locate(from), pool.locate(to)];
  for (let at = 0; at < pool.extentBytes; at += COPY_BYTES) {
    const bytes = new Uint8Array(Math.min(COPY_BYTES, pool.extentBytes - at));
    await source.device.read(source.offsetBytes + at, bytes);
    await target.device.write(target.offsetBytes + at, bytes);
  }
  await target.device.flush();
}

async function withDevices(
  { located, device }: Volume,
  use: (devices: ExtentsDevices) => Promise<void>,
): Promise<void> {
  const devices = await openExtentsDevices(located, device, { access: 'write' });
  try {
    await use(devices);
  } finally {
    await devices.close();
  }
}
