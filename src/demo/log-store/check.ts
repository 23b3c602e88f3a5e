/**
 * The check for `crash explore`: what the log store on $image holds is what was put, no older than was acknowledged ($mark), and no younger
 * than what was being put then. Ends with 3 where an acknowledged value is gone, with 4 where a value is wrong.
 */
import { readFileSync } from 'node:fs';
import { readLog } from './records.js';
import { keyOf, markedNumber, numberOf } from './workload.js';

const acknowledged = markedNumber(process.env.mark ?? '');
const found = new Map<string, number>();

function fail(exitCode: number, why: string): never {
  process.stdout.write(`${why}\n`);
  process.exit(exitCode);
}

for (const { key, value } of readLog(readFileSync(process.env.image!)).records) {
  const number = numberOf(key, value);
  if (number === null || number > acknowledged + 1)
    fail(4, `${key} holds what nobody had put: ${value.slice(0, 40)}`);
  found.set(key, number);
}
for (let number = 1; number <= acknowledged; number++) {
  const held = found.get(keyOf(number)) ?? 0;
  if (held < number && lastOf(keyOf(number)) === number)
    fail(
      3,
      `value ${number} of "${keyOf(number)}" was acknowledged, and ${held === 0 ? 'is gone' : `${held} is there`}`,
    );
}

/** The newest of a key that was acknowledged. */
function lastOf(key: string): number {
  for (let number = acknowledged; number > 0; number--) if (keyOf(number) === key) return number;
  return 0;
}
