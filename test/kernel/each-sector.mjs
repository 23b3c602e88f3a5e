/**
 * node each-sector.mjs OLD NEW GOT: after a crash amid writing NEW over the start of OLD, every sector of 512 bytes of GOT
 * must be one of the two. Prints the counts; ends with 1 when a sector is neither.
 */
import { readFileSync } from 'node:fs';

const SECTOR = 512;
const [old, over, got] = process.argv.slice(2).map((path) => readFileSync(path));
// NEW may end within a sector, whose rest stays old
const next = Buffer.concat([over, old.subarray(over.length)]);
const counts = { old: 0, new: 0, other: 0 };
let firstOther = -1;
for (let at = 0; at < old.length; at += SECTOR) {
  const sector = got.subarray(at, at + SECTOR);
  if (sector.equals(old.subarray(at, at + SECTOR))) counts.old++;
  else if (sector.equals(next.subarray(at, at + SECTOR))) counts.new++;
  else {
    counts.other++;
    if (firstOther < 0) firstOther = at;
  }
}
const where = counts.other > 0 ? `, the first at byte ${firstOther}` : '';
process.stdout.write(`sectors: ${counts.old} old, ${counts.new} new, ${counts.other} neither${where}\n`);
process.exitCode = counts.other === 0 ? 0 : 1;
