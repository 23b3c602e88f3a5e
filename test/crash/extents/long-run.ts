/** The workloads of files on extents, explored for minutes on what they stand on. */
import { FILES } from '../../../src/lab/self/layers.js';
import { describeLongRun, statesOr } from '../long-run.js';

export function describeFiles(stand: keyof typeof FILES): void {
  describeLongRun({
    title: `files on ${stand}`,
    workloads: FILES[stand],
    states: statesOr(2_400_000) / Object.keys(FILES).length / FILES[stand].length,
    maxImagesPerCut: 40,
  });
}
