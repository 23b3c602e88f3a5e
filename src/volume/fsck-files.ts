/** Looks into a volume of files for fsck, as far as it can be looked into, and repairs it. */
import type { CheckedFiles, EngineTrouble } from '../check/context.js';
import type { RepairName } from '../check/findings.js';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { checkEngine, mendEngine } from '../metadata/engine/check-engine.js';
import type { MetadataFinding } from '../metadata/engine/findings.js';
import { openEngine } from '../metadata/engine/open-engine.js';
import { checkMetadata } from '../metadata/server/check.js';
import { rebuildIndexes } from '../metadata/server/rebuild-indexes.js';
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
): Promise<Pick<CheckedFiles, 'state' | 'unfinished'>> {
  const engine = await engineOf(devices.range, true, () => undefined);
  try {
    await assertFits(located, devices, engine);
    const state = await checkMetadata(engine);
    const { transactionsToComplete } = await summarize(engine);
    return { state, unfinished: transactionsToComplete };
  } finally {
    await engine.close();
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
      }),
  ],
  [
    'rebuild-indexes',
    (volume, warn) =>
      withDevices(volume, async ({ range }) => {
        const engine = await openEngine(range, { warn: ({ message }) => warn(message) });
        try {
          await rebuildIndexes(engine);
        } finally {
          await engine.close();
        }
      }),
  ],
  ['complete-transactions', (volume, warn) => recoverFiles(volume, warn)],
];

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
