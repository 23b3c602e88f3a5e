/** A database that is written until its disk is gone or the test has enough: each transaction is whole, and its number is told. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { isInstalled } from '../nbd/client/servers.js';

export const ROWS = 3;
export const MOST_TRANSACTIONS = 20_000;

/** Commits one transaction after another, each of several rows, until it cannot; tells of each that is acknowledged. */
export function writeRows(database: string, journalMode: string) {
  // A line for each, at once: else they are told many at a time.
  const child = spawn('stdbuf', ['-oL', 'sqlite3', '-bail', database], { stdio: ['pipe', 'pipe', 'ignore'] });
  let acknowledged = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    for (const line of chunk.toString().split('\n'))
      if (/^ack \d+$/.test(line)) acknowledged = Number(line.slice(4));
  });
  child.stdin.on('error', () => undefined);
  // "extra": with "full" a commit whose journal is deleted is not on disk before the directory is (SQLite, pragma synchronous).
  child.stdin.write(`pragma journal_mode = ${journalMode}; pragma synchronous = extra;\n`);
  child.stdin.write('create table t (n integer, row integer, x blob);\n');
  for (let n = 1; n <= MOST_TRANSACTIONS; n++) {
    const rows = Array.from(
      { length: ROWS },
      (_, row) => `(${n}, ${row}, randomblob(${500 + (n % 5) * 900}))`,
    );
    child.stdin.write(`begin; insert into t values ${rows.join(', ')}; commit; select 'ack ' || ${n};\n`);
  }
  child.stdin.end();
  return { child, ended: once(child, 'exit'), acknowledged: () => acknowledged };
}

export async function ask(database: string, question: string): Promise<string> {
  return (await promisify(execFile)('sqlite3', [database, question], { timeout: 30_000 })).stdout.trim();
}

/** Each row of a transaction is there, and no transaction is missing: asked of the database. */
export const IS_WHOLE = `select count(*) = ${ROWS} * max(n) and count(distinct n) = max(n) from t`;

export const hasDatabase = isInstalled('sqlite3') && isInstalled('stdbuf');
