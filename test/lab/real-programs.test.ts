/**
 * Real programs on a recorded disk: the kernel's ext4, and SQLite on that. What they promise holds at every state that is looked at; where
 * they are told not to keep it, the lab finds that out.
 */
import { describe, expect, it } from 'vitest';
import { hasDatabase } from '../support/database.js';
import { exploreWorkload, type MountedWorkload } from '../support/lab/mounted-workload.js';
import { canMount } from '../support/nbd/mounted-disk.js';

const LIMIT = { timeout: 240_000 };
const STATES = 200;

const possible = canMount();

/** Files that are written and fsynced, one after another. */
function files(options: string, conv = 'fsync'): MountedWorkload {
  return {
    options,
    prepare: 'mkdir d',
    work: `for n in 1 2 3 4 5 6; do
  seq $((n * 1000)) $((n * 1000 + n * 300)) | dd of=d/$n bs=64k conv=${conv} iflag=fullblock 2>/dev/null
  ${conv === 'fsync' ? 'sync d' : ':'}
  echo $n >&3
done`,
    check: `mkdir -p d
[ "$mark" = made ] && exit 0
for n in $(seq "$mark"); do
  get "d/$n"
  [ "$(cksum < "d/$n" 2>/dev/null)" = "$(seq $((n * 1000)) $((n * 1000 + n * 300)) | cksum)" ] || { echo "file $n of $mark is not there"; exit 30; }
done`,
  };
}

/** Transactions of three rows. */
function database(journal: 'wal' | 'delete', synchronous: string): MountedWorkload {
  return {
    prepare: `sqlite3 db 'pragma journal_mode = ${journal}; pragma synchronous = ${synchronous}; create table t (n integer, row integer, x blob)' > /dev/null`,
    work: `{ echo 'pragma synchronous = ${synchronous};'
for n in $(seq 8); do
  echo "begin; insert into t values ($n, 0, randomblob(900)), ($n, 1, randomblob(900)), ($n, 2, randomblob(900)); commit; select 'ack $n';"
done; } | stdbuf -oL sqlite3 -bail db | while read word n; do [ "$word" != ack ] || echo "$n" >&3; done`,
    check: `for f in db db-wal db-journal; do get "$f"; done
rm -f db-shm
[ -f db ] || { echo 'there is no database'; exit 40; }
found=$(sqlite3 db "pragma integrity_check; select ifnull(3 * max(n), 0) = count(*) and ifnull(max(n), 0) = count(distinct n), ifnull(max(n), 0) from t" 2>&1) || { echo "$found"; exit 41; }
set -- $(echo "$found" | tr '|' ' ')
[ "$1" = ok ] || { echo "$found"; exit 42; }
[ "$2" = 1 ] || { echo 'a transaction is there in part'; exit 43; }
[ "$mark" = made ] || [ "$3" -ge "$mark" ] || { echo "transaction $mark was acknowledged, and $3 is the last"; exit 44; }`,
  };
}

describe.runIf(possible)('ext4', () => {
  it('is sound, and has what was fsynced, whatever a power cut leaves', LIMIT, async () => {
    const { kinds, output, checkRuns } = await exploreWorkload(files('defaults'), STATES);
    expect([kinds, output]).toEqual([[], '']);
    expect(checkRuns).toBeGreaterThan(50);
  });

  it('without barriers has lost it', LIMIT, async () => {
    const { kinds, exitCode } = await exploreWorkload(files('nobarrier'), STATES);
    expect([kinds.length, exitCode]).toEqual([1, 4]);
  });

  it('has not what was not fsynced', LIMIT, async () => {
    const { kinds, output } = await exploreWorkload(files('defaults', 'notrunc'), STATES);
    expect([kinds, output]).toEqual([['check exit 30'], expect.stringMatching(/file 1 of \d is not there/)]);
  });
});

describe.runIf(possible && hasDatabase)('SQLite on ext4', () => {
  it.each([
    ['wal', 'full'],
    ['delete', 'extra'],
  ] as const)(
    'journal_mode %s, synchronous %s: each transaction that was acknowledged is there, whole',
    LIMIT,
    async (journal, synchronous) => {
      const { kinds, output, checkRuns } = await exploreWorkload(database(journal, synchronous), STATES);
      expect([kinds, output]).toEqual([[], '']);
      expect(checkRuns).toBeGreaterThan(50);
    },
  );

  // The last: the journal's name is gone, and that is not durable; it comes back, and takes the transaction back.
  it.each([
    ['wal', 'normal'],
    ['wal', 'off'],
    ['delete', 'full'],
  ] as const)(
    'journal_mode %s, synchronous %s: an acknowledged transaction may be gone',
    LIMIT,
    async (journal, synchronous) => {
      const { kinds, output } = await exploreWorkload(database(journal, synchronous), STATES);
      expect([kinds, output]).toEqual([
        ['check exit 44'],
        expect.stringMatching(/was acknowledged, and \d is the last/),
      ]);
    },
  );
});
