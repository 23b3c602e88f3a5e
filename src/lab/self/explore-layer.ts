/** One layer of holdfast, explored in all its workloads (layers.ts), one after another. */
import type { Report } from '../../crash/explorer-report.js';
import type { ExploreOptions } from '../../crash/explorer-subject.js';
import { DEFAULT_PROFILE } from '../../crash/profiles.js';
import { UserError } from '../../errors.js';
import type { LayerName } from './layer-names.js';
import { profilesOf, workloadsOf } from './layers.js';

export interface ExploredWorkload {
  readonly name: string;
  readonly report: Report;
}

/**
 * All limits are for each workload. Throws UNSUPPORTED for a profile that the layer is not held to; the signal's reason.
 */
export async function* exploreLayer(
  layer: LayerName,
  options: Omit<ExploreOptions, 'spared' | 'atOnce'>,
): AsyncGenerator<ExploredWorkload> {
  const { profile = DEFAULT_PROFILE } = options;
  const profiles = profilesOf(layer);
  if (!profiles.includes(profile))
    throw new UserError('UNSUPPORTED', `${layer} is not held to the profile ${profile}`, {
      hint: `A torn superblock of md costs its member, whoever reads it. Give one of ${profiles.join(', ')}.`,
    });
  for (const { name, explore } of workloadsOf(layer)) yield { name, report: await explore(options) };
}
