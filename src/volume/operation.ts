/** What an operation is: a name's access, the shape of its arguments, and what it does (operations.ts has them all). */
import { z } from 'zod';
import { UserError } from '../errors.js';
import type { OperationReporting } from './control/control-server.js';
import type { Volume } from './model.js';

/** What somebody else asks for, who may be of another version. @throws UserError USAGE for what is none of it. */
export function argumentsOf<S extends z.ZodType>(name: string, schema: S, args: unknown): z.infer<S> {
  const parsed = schema.safeParse(args);
  if (parsed.success) return parsed.data;
  throw new UserError('USAGE', `${name}: ${z.prettifyError(parsed.error)}`);
}

/** `access`: how the volume has to be open for it; what needs only `read` changes nothing. */
export function operation<A extends z.ZodType, R, V = Volume>(
  access: 'read' | 'write',
  schema: A,
  run: (volume: V, args: z.infer<A>, reporting: OperationReporting) => Promise<R>,
) {
  return { access, schema, run };
}
