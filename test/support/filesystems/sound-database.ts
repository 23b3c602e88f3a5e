/** An image of a disk that was taken amid transactions of a database on it (support/database.ts), looked at as a disk. */
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { ask, IS_WHOLE } from '../database.js';
import { MountedDisk } from '../nbd/mounted-disk.js';
import { serve } from '../served.js';
import { faults, replay } from './e2fsprogs.js';

export interface DatabaseBounds {
  /** So many transactions were acknowledged before. */
  readonly least: number;
  /** There were no more at that time. */
  readonly most?: number;
  /** Of the file `static` beside it. */
  readonly content: Uint8Array;
}

/** Its journal is replayed first: that is all it needs. */
export async function expectSoundDatabase(
  image: string,
  { least, most = Number.POSITIVE_INFINITY, content }: DatabaseBounds,
): Promise<void> {
  replay(image);
  expect(faults(image)).toBe('');
  const folder = `${image}.served`;
  await mkdir(folder);
  const served = await serve(folder, image);
  const disk = await MountedDisk.mount(join(folder, 'mounted'), served.uri, { makes: false });
  try {
    expect(Buffer.compare(await readFile(join(disk.place, 'static')), content)).toBe(0);
    const database = join(disk.place, 'db');
    expect(await ask(database, 'pragma integrity_check')).toBe('ok');
    const transactions = Number(await ask(database, 'select max(n) from t'));
    expect(transactions).toBeGreaterThanOrEqual(least);
    expect(transactions).toBeLessThanOrEqual(most);
    expect(await ask(database, IS_WHOLE)).toBe('1');
  } finally {
    await disk.unmount();
  }
  expect((await served.stop()).exitCode).toBe(0);
}
