/** A volume whose metadata or journal lies in images of its own: no moment of one image is all of it. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeExtents, SHAPES, withImages } from '../support/extents-volumes.js';
import { runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const LIMIT = { timeout: 60_000 };

describe('a volume with images of its own', () => {
  it('has no snapshots, nor backups of all blocks: one image is not all of it', LIMIT, async () => {
    const folder = await temporaryFolder();
    const volume = join(folder, 'v');
    await makeExtents(volume, [...SHAPES['one image'], ...withImages(volume)]);
    const snapshot = await runJson(['snapshot', 'create', volume, '--name', 'one']);
    expect(snapshot.json.error?.code).toBe('UNSUPPORTED');
    expect(snapshot.json.error?.message).toContain('one image is not all of it');
    for (const flags of [[], ['--all-blocks']]) {
      const backup = await runJson([
        ...['backup', 'create', volume, '--output', join(folder, 'b.img'), ...flags],
      ]);
      expect(backup.json.error?.code).toBe('UNSUPPORTED');
    }
  });
});
