/**
 * Makes a backup in a process of its own, to be killed or to meet a full disk: make-backup.mjs SET NAME MIB [hold]. With
 * `hold` it says so when all is put, and stays. What fails is abandoned, and told as JSON.
 */
import { SetWriter } from '../../../dist/src/snapshot/set/index.js';

const [directory, name, mib, hold] = process.argv.slice(2);
const sizeBytes = Number(mib) * 1024 ** 2;
const writer = await SetWriter.create(directory, { name, since: null, sizeBytes, label: 'volume' });
try {
  for (let at = 0; at < sizeBytes; at += 1024 ** 2) await writer.put(at, new Uint8Array(1024 ** 2).fill(7));
  if (hold !== undefined) {
    console.log('holding');
    await new Promise((resolve) => setTimeout(resolve, 600_000));
  }
  await writer.finish();
} catch (error) {
  await writer.abandon('failed', error.message);
  console.log(
    JSON.stringify({ code: error.code, message: error.message, hint: error.hint, details: error.details }),
  );
}
