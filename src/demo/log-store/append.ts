/**
 * A program for `crash record`: opens the log store on the disk $uri, puts one value after another, and says of each when it is durable.
 * `append.js [--hasty] [NUMBER]`: with the fault that store.ts tells; so many values instead of 10, or none, which is a recovery.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { NbdDevice } from '../../nbd/client/nbd-device.js';
import { LogStore } from './store.js';
import { keyOf, mark, textOf } from './workload.js';

const words = process.argv.slice(2);
const numbers = Number(words.find((word) => word !== '--hasty') ?? 10);
const disk = await NbdDevice.open(process.env.uri!, { readOnly: false });
const marks = numbers === 0 ? null : connect(process.env.HOLDFAST_MARKS!);
const store = await LogStore.open(disk, { isHasty: words.includes('--hasty') });
for (let number = 1; number <= numbers; number++) {
  await store.put(keyOf(number), textOf(number));
  marks!.write(`${mark(number)}\n`);
  await once(marks!, 'data');
}
marks?.end();
await disk.close();
