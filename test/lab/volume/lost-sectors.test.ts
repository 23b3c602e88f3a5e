/** Without a member only what the records list may be refused: a product that says so of more is found, by a look that lists nothing. */
import { expect, it, vi } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { exploreVolume } from '../../../src/lab/volume/explore-volume.js';
import { notWarned } from '../../support/lab/not-warned.js';
import { recordedVolume } from '../../support/lab/recorded-volume.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

vi.mock('../../../src/lab/volume/volume-looks.js', async (original) => ({
  ...(await original<typeof import('../../../src/lab/volume/volume-looks.js')>()),
  parityAsListed: () => Promise.resolve({ breach: null, suspect: [] }),
}));

it('a sector that is refused, and that no record lists, is a failure', { timeout: 120_000 }, async () => {
  const writes = ['write -P 1 8k 12k', 'flush'];
  const { trace } = await recordedVolume(['--members', '3', '--size', '2M', '--chunk', '16K'], writes);
  const report = await exploreVolume(readTrace(trace), {
    ...{ seed: 1, maxStates: 3000, maxImagesPerCut: 16 },
    ...{ directory: await temporaryFolder(), signal: new AbortController().signal, warn: notWarned },
  });
  expect(report.failures).toMatchObject([
    {
      invariant: 'a sector cannot be read',
      message: expect.stringMatching(/^\d+ sectors of v, at offset \d+ and on, cannot be read/),
      missing: expect.any(Number),
    },
  ]);
});
