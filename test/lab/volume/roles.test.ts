/** Roles of what a volume writes to its images, against where the kernel's layout has parity, and what coverage tells by them. */
import { tmpdir } from 'node:os';
import { expect, it } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { traceRoles } from '../../../src/lab/volume/trace-roles.js';
import { recordedStore } from '../../support/lab/recorded-store.js';
import { recordedVolume } from '../../support/lab/recorded-volume.js';
import { ok, runJson } from '../../support/run-holdfast.js';

const LIMIT = { timeout: 120_000 };
const CHUNK_BYTES = 16 * 1024;

it('of an array: superblocks, the record, data, and parity where it is', LIMIT, async () => {
  const create = ['--members', '3', '--size', '2M', '--chunk', '16K'];
  const writes = ['write -P 1 8k 12k', 'flush'];
  const { trace: path } = await recordedVolume(create, writes);
  const trace = readTrace(path);
  const roleOf = (await traceRoles(trace, { ranges: [], directory: tmpdir() }))!;
  const examined = await ok('examine', trace.devices[0]!.name);
  const { images } = examined as unknown as { images: [{ superblocks: [{ dataOffsetBytes: number }] }] };
  const { dataOffsetBytes } = images[0].superblocks[0];
  const seen = new Map<string, number>();
  for (const event of trace.events) {
    if (event.kind !== 'submit' || event.operation.kind === 'flush') continue;
    const { device, offset } = event.operation;
    const role = roleOf(event.operation);
    seen.set(role, (seen.get(role) ?? 0) + 1);
    const stripe = Math.floor((offset - dataOffsetBytes) / CHUNK_BYTES);
    if (stripe < 0) expect(['superblock', 'record']).toContain(role);
    // Left-symmetric: the parity of the first stripe is on the last member, and goes back from there.
    else
      expect([device, stripe, role]).toEqual([
        device,
        stripe,
        device === 2 - (stripe % 3) ? 'parity' : 'data',
      ]);
  }
  expect([...seen.keys()].sort()).toEqual(['data', 'parity', 'record', 'superblock']);
  trace.close();
  const explored = await runJson(['crash', 'explore', path, '--max-states', '20000']);
  const { coverage } = explored.json.result as unknown as { coverage: object[] };
  expect(coverage).toContainEqual({ earlier: 'data', later: 'parity', isReordered: true });
});

it('of a disk: ranges that are named, and the rest', LIMIT, async () => {
  const { trace, check } = await recordedStore({ letters: 'AB' });
  const flags = ['--check', check, '--profile', 'atomic-write', '--role', 'letter:0+512'];
  const { json } = await runJson(['crash', 'explore', trace, ...flags]);
  expect((json.result as { coverage: unknown }).coverage).toEqual([
    { earlier: 'elsewhere', later: 'elsewhere', isReordered: true },
  ]);
  const wrong = await runJson(['crash', 'explore', trace, '--check', check, '--role', 'letter']);
  expect([wrong.exitCode, wrong.json.error]).toMatchObject([2, { code: 'USAGE' }]);
});
