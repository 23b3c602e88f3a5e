/** Files of JSON beside a volume, which are replaced as a whole (device/replace-json.ts): nothing of them is used that was not checked. */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { fileError } from '../device/device-errors.js';
import { UserError } from '../errors.js';

/** `what`: for people: "a list of replicas". @throws UserError METADATA_DAMAGED where it is not; and what reading throws. */
export async function readCheckedJson<S extends z.ZodType>(
  path: string,
  schema: S,
  { what, hint }: { readonly what: string; readonly hint: string },
): Promise<z.infer<S>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw fileError(path, 'read', error);
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new UserError('METADATA_DAMAGED', `${path} is not ${what} that this version understands: ${why}`, {
      hint,
      details: { image: path },
      cause: error,
    });
  }
}
