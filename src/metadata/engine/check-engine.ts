/**
 * Looks at all of an engine on disk, and tells what is wrong: every structure by both of its copies, every key's place,
 * and the pages in use against those that the tree has. Nobody else may write meanwhile.
 *
 * What is thrown is what makes a look impossible: no engine, a later one.
 */
import { UserError } from '../../errors.js';
import { checkTree } from './check-tree.js';
import type { MetadataFinding, MetadataFindingCode } from './findings.js';
import type { PageMap } from './free-pages.js';
import type { EngineRange } from './layout.js';
import { readLog } from './log-reader.js';
import { PageStore } from './page-store.js';
import {
  type FoundEngine,
  logMends,
  type Mend,
  mendCopies,
  readAllocation,
  readHeader,
  readRoot,
} from './recovery.js';

export async function checkEngine(range: EngineRange): Promise<MetadataFinding[]> {
  const check = new EngineCheck(range);
  await check.run();
  return check.findings;
}

/**
 * As checkEngine, and makes each bad copy anew from the good one beside it, durably. What is good in neither half stays
 * as it is. The answer is what was found before.
 */
export async function mendEngine(range: EngineRange): Promise<MetadataFinding[]> {
  const check = new EngineCheck(range);
  const found = await check.run();
  if (found !== null) await mendCopies(found, check.mends);
  return check.findings;
}

class EngineCheck {
  readonly findings: MetadataFinding[] = [];
  readonly mends: Mend[] = [];

  constructor(private readonly range: EngineRange) {}

  /** null: there is no good header. */
  async run(): Promise<Pick<FoundEngine, 'halves' | 'header'> | null> {
    const start = await this.stage('HEADER_DAMAGED', () => readHeader(this.range));
    if (start === null) return null;
    const { halves, header } = start;
    const found = await this.stage('ROOT_DAMAGED', () => readRoot(halves, header));
    if (found === null) return start;
    const { root } = found;
    const allocation = await this.stage('ALLOCATION_DAMAGED', () => readAllocation(halves, header, root));
    await this.stage('LOG_DAMAGED', async () => {
      const log = await readLog(halves, header.layout, header.uuid, root);
      return { mends: logMends(halves, header, log) };
    });
    const { uuid, layout } = header;
    const pages = new PageStore(halves, { uuid, layout, cacheBytes: 0, warn: () => undefined });
    const map: PageMap | null = allocation?.map ?? null;
    const tree = await checkTree({ halves, layout, pages, root, map });
    this.findings.push(...tree.findings);
    this.mends.push(...tree.mends);
    return start;
  }

  /** null: it could not be read, and that is found. */
  private async stage<T extends { readonly mends: readonly Mend[] }>(
    code: MetadataFindingCode,
    read: () => Promise<T>,
  ): Promise<T | null> {
    try {
      const result = await read();
      this.findings.push(...result.mends.map(({ finding }) => finding));
      this.mends.push(...result.mends);
      return result;
    } catch (error) {
      if (!(error instanceof UserError) || !['METADATA_DAMAGED', 'IO_ERROR'].includes(error.code))
        throw error;
      const offsetBytes = Number(error.details.offsetBytes ?? this.range.offset);
      this.findings.push({
        code,
        image: this.range.device.name,
        offsetBytes,
        lengthBytes: 0,
        message: error.message,
      });
      return null;
    }
  }
}
