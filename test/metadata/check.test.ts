/** The check finds what is wrong, each by its code, and nothing where nothing is: damage is planted in the engine. */
import { describe, expect, it } from 'vitest';
import { checkMetadata } from '../../src/metadata/server/check.js';
import type { StateFindingCode } from '../../src/metadata/server/check-context.js';
import { key, nameKey } from '../../src/metadata/server/keys.js';
import { encode } from '../../src/metadata/server/records.js';
import { change, type Damaged, drop, number, put, setTaken, stageWithAll } from './support/damage.js';
import { NONE } from './support/stage.js';

describe('the check finds', () => {
  it.each<[string, StateFindingCode, (damaged: Damaged) => Promise<void>]>([
    ['an extent that nothing has', 'EXTENT_LEAKED', (d) => setTaken(d, 60, true)],
    ['an extent in use that is free', 'EXTENT_NOT_TAKEN', (d) => setTaken(d, d.data, false)],
    [
      'an extent in a map and in a journal',
      'EXTENT_USED_TWICE',
      (d) => change(d, key('E', 2, 0), 'entry', { extent: d.kept + 1 }),
    ],
    [
      'an extent past the pool',
      'EXTENT_PAST_POOL',
      (d) => change(d, key('E', 2, 0), 'entry', { extent: 1000 }),
    ],
    [
      'a wrong count of free extents',
      'EXTENT_COUNT_WRONG',
      (d) => change(d, key('K'), 'counters', { freeExtents: 1 }),
    ],
    [
      'a wrong count of journal extents',
      'EXTENT_COUNT_WRONG',
      (d) => change(d, key('K'), 'counters', { journalExtents: 1 }),
    ],
    [
      'a wrong count of reserved extents',
      'EXTENT_COUNT_WRONG',
      (d) => change(d, key('K'), 'counters', { reservedExtents: 1 }),
    ],
    [
      'an association of a file that is gone',
      'ASSOCIATION_LOST',
      (d) => change(d, key('J', d.kept), 'journal', { file: 77 }),
    ],
    ['a journal extent without its client', 'ASSOCIATION_LOST', (d) => drop(d, key('L', 1))],
    [
      'a journal extent that its client does not find',
      'ASSOCIATION_LOST',
      (d) => drop(d, key('j', 1, d.kept)),
    ],
    [
      'a journal extent that its place does not find',
      'ASSOCIATION_LOST',
      (d) => drop(d, key('A', d.file, 5, 1)),
    ],
    ['a place that leads nowhere', 'ASSOCIATION_LOST', (d) => put(d, key('A', d.file, 9, 1), number(60))],
    ['flags of nothing', 'FLAGS_LOST', (d) => put(d, key('B', 60, 0), NONE)],
    ['a transaction without flags', 'TRANSACTION_WRONG', (d) => drop(d, key('B', d.hardened, 0))],
    ['a transaction without an entry', 'TRANSACTION_WRONG', (d) => drop(d, key('t', d.transaction, 0))],
    [
      'an entry that its place does not find',
      'TRANSACTION_WRONG',
      (d) => drop(d, key('H', d.file, 0, d.transaction)),
    ],
    ['an entry without its transaction', 'TRANSACTION_WRONG', (d) => drop(d, key('T', d.transaction))],
    [
      'a transaction that counts wrongly',
      'TRANSACTION_WRONG',
      (d) => change(d, key('T', d.transaction), 'transaction', { left: 2 }),
    ],
    [
      'a map held by nothing',
      'MAP_WRONG',
      (d) => put(d, key('M', 9), encode('map', { parent: 0, files: 0, children: 0 })),
    ],
    ['a map with a wrong parent', 'MAP_WRONG', (d) => change(d, key('M', 2), 'map', { parent: 9 })],
    ['a parent that does not know its child', 'MAP_WRONG', (d) => drop(d, key('P', 1, 2))],
    [
      'entries of a map that is not there',
      'MAP_WRONG',
      (d) => put(d, key('E', 9, 0), encode('entry', { extent: 0, isShared: 0 })),
    ],
    ['a file without its map', 'MAP_WRONG', (d) => drop(d, key('M', 2))],
    ['a name that leads nowhere', 'NAME_WRONG', (d) => put(d, nameKey('N', 'x'), number(99))],
    ['a file without its name', 'NAME_WRONG', (d) => drop(d, nameKey('N', 'disk'))],
  ])('%s', async (_what, code, damage) => {
    const damaged = await stageWithAll();
    await damage(damaged);
    const findings = await checkMetadata(damaged.stage.engine);
    expect(findings.map((finding) => finding.code)).toContain(code);
  });
});

it('what is to be freed and is free, or not there, is damage: the server stops there and changes nothing', async () => {
  const damaged = await stageWithAll();
  await setTaken(damaged, damaged.kept, false);
  const ask = damaged.stage.as('a');
  await ask('Disassociate_Journal_Extent', { extents: [damaged.kept] });
  const before = await ask('Space', {});
  await expect(ask('Free_Journal_Space', { extents: [damaged.kept] })).rejects.toMatchObject({
    code: 'METADATA_DAMAGED',
  });
  expect(await ask('Space', {})).toEqual(before);
});
