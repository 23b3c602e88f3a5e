/** What an operation is: a name's access, the shape of its arguments, and what it does (operations.ts has them all). */
import type { z } from 'zod';
import type { OperationReporting } from './control/control-server.js';
import type { Volume } from './model.js';

/** `access`: how the volume has to be open for it; what needs only `read` changes nothing. */
export function operation<A extends z.ZodType, R, V = Volume>(
  access: 'read' | 'write',
  schema: A,
  run: (volume: V, args: z.infer<A>, reporting: OperationReporting) => Promise<R>,
) {
  return { access, schema, run };
}
