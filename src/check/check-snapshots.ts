/** Checks what is kept of a volume's moments. Their layer has looked (volume/fsck-snapshots.ts); what it means is said here. */
import type { UserError } from '../errors.js';
import type { CheckContext } from './context.js';
import { type Finding, type FindingCode, finding } from './findings.js';

export async function* checkSnapshots({ snapshots }: CheckContext): AsyncGenerator<Finding> {
  if (snapshots === null) return;
  const { trouble, unusable, damaged } = snapshots;
  if (trouble !== null) yield told('SNAPSHOT_LIST_DAMAGED', trouble);
  for (const { name, why } of unusable) {
    yield finding('SNAPSHOT_UNUSABLE', {}, `snapshot ${name} cannot be used: ${why}`, {
      hint: 'Delete it: holdfast snapshot delete.',
      reason: name,
    });
  }
  for (const error of damaged) yield told('SNAPSHOT_DAMAGED', error);
}

function told(code: FindingCode, { message, hint = '', details }: UserError): Finding {
  const { image, offsetBytes } = details;
  const where = {
    ...(typeof image === 'string' ? { image } : {}),
    ...(typeof offsetBytes === 'number' ? { offsetBytes } : {}),
  };
  return finding(code, where, message, { hint });
}
