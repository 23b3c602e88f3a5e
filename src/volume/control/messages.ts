/**
 * What is said on the control socket: lines of JSON. A connection is one operation. The client says what it wants;
 * the server tells of progress and warnings, and ends with a result or an error. A client that hangs up stops it.
 *
 *   > {"holdfast":1,"operation":"scrub","arguments":{"repair":false}}
 *   < {"progress":{"doneBytes":1048576,"totalBytes":67108864}}
 *   < {"warning":"..."}
 *   < {"result":{...}}   or   {"error":{"code":"REFUSED","message":"...","hint":"...","details":{}}}
 *
 * Who may open the socket may open the images; but what comes is checked all the same: it may be of another version.
 */
import type { Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { z } from 'zod';
import { type ErrorCode, UserError } from '../../errors.js';

export const requestSchema = z.object({
  holdfast: z.literal(1),
  operation: z.string().max(100),
  arguments: z.record(z.string(), z.unknown()),
});

export type ControlRequest = z.infer<typeof requestSchema>;

export const errorSchema = z.object({
  code: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  details: z.record(z.string(), z.unknown()).optional(),
});

const answerSchema = z.union([
  z.object({ progress: z.object({ doneBytes: z.number(), totalBytes: z.number() }) }),
  z.object({ warning: z.string() }),
  z.object({ result: z.unknown().refine((result) => result !== undefined) }),
  z.object({ error: errorSchema }),
]);

export type ControlAnswer =
  | { readonly progress: { readonly doneBytes: number; readonly totalBytes: number } }
  | { readonly warning: string }
  | { readonly result: unknown }
  | { readonly error: ControlError };

export type ControlError = Readonly<z.infer<typeof errorSchema>>;

/** A request is a few names and numbers: who sends more than this without an end of line is hung up on. */
const MAX_REQUEST_BYTES = 1024 * 1024;

export function send(socket: Socket, message: ControlRequest | ControlAnswer): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(message)}\n`);
}

/** The first line. Throws USAGE for what is no request; null: it hung up before its end, or said too much. */
export async function readRequest(socket: Socket): Promise<ControlRequest | null> {
  let text = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += String(chunk);
    const end = text.indexOf('\n');
    if (end >= 0) return parseRequest(text.slice(0, end));
    if (text.length > MAX_REQUEST_BYTES) return null;
  }
  return null;
}

function parseRequest(line: string): ControlRequest {
  try {
    return requestSchema.parse(JSON.parse(line));
  } catch (cause) {
    throw new UserError('USAGE', 'what came on the control socket is no request', {
      hint: 'one line of JSON: {"holdfast":1,"operation":"serving status","arguments":{}}',
      cause,
    });
  }
}

export async function* readAnswers(socket: Socket): AsyncGenerator<ControlAnswer> {
  for await (const line of createInterface({ input: socket, crlfDelay: Number.POSITIVE_INFINITY })) {
    yield answerSchema.parse(JSON.parse(line)) as ControlAnswer;
  }
}

/** Faults of the server's own stay what they are: they are told as such here too. */
export function errorOf(thrown: unknown): ControlError {
  if (thrown instanceof UserError) {
    const { code, message, hint, details } = thrown;
    return { code, message, hint, details };
  }
  return {
    code: 'INTERNAL',
    message: thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown),
  };
}

export function thrownFor({ code, message, hint, details }: ControlError): Error {
  if (code === 'INTERNAL') return new Error(`in the server: ${message}`);
  return new UserError(code as ErrorCode, message, {
    ...(hint === undefined ? {} : { hint }),
    ...(details === undefined ? {} : { details }),
  });
}
