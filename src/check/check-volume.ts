/**
 * All checkers, in the order in which their findings are told. A layer that gets a checker of its own adds it here.
 */
import { checkClosed, checkParity } from './check-array.js';
import { checkFiles } from './check-files.js';
import { checkImages } from './check-images.js';
import { checkBadBlocks, checkBitmaps, checkPpl } from './check-logs.js';
import { checkMembers } from './check-members.js';
import { checkRecord } from './check-record.js';
import { checkSnapshots } from './check-snapshots.js';
import { checkSuperblocks } from './check-superblocks.js';
import type { CheckContext, Checker } from './context.js';
import type { Finding } from './findings.js';

const CHECKERS: readonly Checker[] = [
  checkImages,
  checkMembers,
  checkSuperblocks,
  checkClosed,
  checkRecord,
  checkBitmaps,
  checkPpl,
  checkBadBlocks,
  checkParity,
  checkFiles,
  checkSnapshots,
];

export async function checkVolume(context: CheckContext): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const checker of CHECKERS) for await (const found of checker(context)) findings.push(found);
  return findings;
}
