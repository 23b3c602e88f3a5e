/**
 * What the server of a volume adds to its status: what its images say while it writes them is always a moment old, and
 * names what is being written as dirty.
 */
import { askServer, atServer } from './control/control-client.js';
import { controlDirectories } from './control/places.js';
import type { Located } from './locate.js';
import { SERVING_STATUS, type ServingStatus } from './serving-status.js';
import type { VolumeStatus } from './status-model.js';

/** `status` itself where somebody else has it open, who does not serve it. */
export async function withServer(located: Located, status: VolumeStatus): Promise<VolumeStatus> {
  if (status.holder === null) return status;
  const directories = controlDirectories(located);
  const answer = await atServer(directories, 'control', (socket) => askServer(socket, SERVING_STATUS, {}));
  if (answer === null) return status;
  const serving = answer as ServingStatus;
  const { inDoubt, snapshots } = serving;
  if (status.state !== 'dirty-degraded') return { ...status, inDoubt, snapshots, serving };
  // What it is writing now is dirty on its images; lost would be only what it says itself.
  const problems = status.problems.filter(({ code }) => code !== 'IN_DOUBT' || inDoubt.length > 0);
  return { ...status, state: 'degraded', dirtyStripes: 0, inDoubt, snapshots, problems, serving };
}
