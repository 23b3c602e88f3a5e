/** The folder that a run of crash explore keeps: its failures, and in `summary.json` how far it came. */
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { describeReport, type Report } from '../../crash/explorer-report.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { fileError } from '../../device/device-errors.js';
import { replaceJson } from '../../device/replace-json.js';
import { readCheckedJson } from '../../volume/checked-json.js';
import { type FailureFile, readFailure } from '../explore/failure-file.js';

const SUMMARY = 'summary.json';

const count = z.number().int().nonnegative();

const figuresSchema = z.object({
  /** Looked at, and how many of them were different. */
  states: count,
  images: count,
  /** Of the trace, and of recoveries; and of how many every subset was seen. */
  cuts: count,
  exhaustiveCuts: count,
  /** Pairs of roles that cuts may reorder, and those that a state was seen of in which they were. */
  rolePairs: count,
  reorderedRolePairs: count,
  seed: count,
  profile: z.string(),
});

/** How far a run came, for programs. */
export type Figures = z.infer<typeof figuresSchema>;

const schema = z.object({
  formatVersion: z.literal(1),
  seconds: z.number(),
  text: z.string(),
  /** Folders of older runs have none. */
  figures: figuresSchema.optional(),
});

export interface Found {
  readonly failures: readonly { readonly path: string; readonly failure: FailureFile }[];
  readonly summary: z.infer<typeof schema> | null;
}

export async function saveSummary(folder: string, report: Report): Promise<void> {
  await mkdir(folder, { recursive: true }).catch((error: unknown) => {
    throw fileError(folder, 'made', error);
  });
  const text = describeReport({ ...report, failures: [] });
  const { seconds } = report;
  await replaceJson(join(folder, SUMMARY), { formatVersion: 1, seconds, text, figures: figuresOf(report) });
}

function figuresOf({ states, images, cuts, exhaustiveCuts, coverage, seed, profile }: Report): Figures {
  const reorderedRolePairs = coverage.filter(({ isReordered }) => isReordered).length;
  const seen = { states, images, cuts, exhaustiveCuts, rolePairs: coverage.length, reorderedRolePairs };
  return { ...seen, seed, profile };
}

/** Of this trace. Throws METADATA_DAMAGED for what is none of a run, and REFUSED where it is of another trace. */
export async function readFound(folder: string, trace: StoredTrace): Promise<Found> {
  const names = await readdir(folder).catch((error: unknown) => {
    throw fileError(folder, 'read', error);
  });
  const failures: { path: string; failure: FailureFile }[] = [];
  for (const name of names.sort()) {
    if (!name.endsWith('.json') || name === SUMMARY) continue;
    const path = join(folder, name);
    failures.push({ path, failure: await readFailure(path, trace) });
  }
  if (!names.includes(SUMMARY)) return { failures, summary: null };
  const hint = 'holdfast crash explore --failures makes it.';
  const summary = await readCheckedJson(join(folder, SUMMARY), schema, { what: 'a summary', hint });
  return { failures, summary };
}
