/**
 * Makes an empty engine in a range, over whatever lies there.
 *
 * The order: what there was of a header goes first, durably; then allocation map and root of the empty tree; the header,
 * last, makes an engine of it. So a crash leaves the old one, none, or the new one. Old records and pages stay as they
 * are: they have another UUID.
 */
import { randomBytes } from 'node:crypto';
import { allocationPieces } from './allocation.js';
import { PageMap } from './free-pages.js';
import { Halves } from './halves.js';
import { encodeHeader } from './header.js';
import {
  allocationOffset,
  BLOCK_BYTES,
  type EngineRange,
  PAGE_BYTES,
  planLayout,
  ROOT_SLOTS,
  rootOffset,
} from './layout.js';
import { encodeAllocation } from './page.js';
import { encodeRoot, NO_PAGE, type Root } from './root.js';

export interface MakeOptions {
  /** Bytes of each half's log, whole pages of 16 KiB; a transaction has a quarter of it at most. */
  readonly logBytes?: number;
}

const FIRST_ROOT: Root = {
  generation: 1,
  epoch: 1,
  logPosition: 0,
  logSequence: 1,
  entries: 0,
  pagesUsed: 0,
  levels: 0,
  top: NO_PAGE,
};

/** Throws NO_SPACE where the range is too small. */
export async function makeEngine(range: EngineRange, { logBytes }: MakeOptions = {}): Promise<void> {
  const layout = planLayout(range, logBytes);
  const halves = new Halves(range, layout.halfBytes);
  const uuid = randomBytes(16);
  await halves.write(0, new Uint8Array(BLOCK_BYTES));
  await halves.flush();
  await halves.write(rootOffset(0), new Uint8Array(ROOT_SLOTS * BLOCK_BYTES));
  const { generation } = FIRST_ROOT;
  for (const [number, bits] of allocationPieces(new PageMap(layout.pages).bits, layout).entries()) {
    const bytes = encodeAllocation({ uuid, number, generation }, bits);
    await halves.write(allocationOffset(layout, generation) + number * PAGE_BYTES, bytes);
  }
  await halves.write(rootOffset(generation), encodeRoot(FIRST_ROOT, uuid));
  await halves.flush();
  await halves.write(0, encodeHeader({ uuid, layout }), { fua: true });
}
