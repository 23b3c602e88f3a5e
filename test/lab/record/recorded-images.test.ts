/** Which devices the images of a volume are in its recording. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { openImage } from '../../../src/device/open-image.js';
import { RecordedImages } from '../../../src/lab/record/recorded-images.js';
import { Recording } from '../../../src/lab/record/recording.js';
import { expectSame, pattern } from '../../conformance/block-device.js';
import { told } from '../../support/crash/told-events.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { MemorySink } from '../../support/lab/memory-sink.js';

const SIZE = 64 * 1024;

async function recordedImages() {
  const folder = await scratchDirectory();
  const sink = new MemorySink();
  const recording = new Recording(sink);
  onTestFinished(new RecordedImages(recording, {}).install());
  const image = join(folder, 'a.img');
  await writeFile(image, pattern(SIZE, 1));
  const written = async (path: string, options: { readonly create?: { readonly size: number } } = {}) => {
    const device = await openImage(path, { readOnly: false, ...options });
    await device.write(0, pattern(512, 2));
    await device.close();
  };
  return { folder, image, sink, recording, written };
}

it('one that is opened again is the same, and what it held is told once', async () => {
  const { image, sink, written } = await recordedImages();
  await written(image);
  await written(image);
  expect(sink.devices.map(({ name }) => name)).toEqual([image]);
  expect(sink.bases[0]).toHaveLength(1);
  expectSame(sink.bases[0]![0]!.bytes, pattern(SIZE, 1));
  expect(told(sink.events).filter((line) => line.startsWith('submit'))).toEqual([
    'submit 0: disk 0 write 0+512',
    'submit 1: disk 0 write 0+512',
  ]);
});

it('one that is read is none', async () => {
  const { image, sink } = await recordedImages();
  const device = await openImage(image, { readOnly: true });
  await device.read(0, new Uint8Array(512));
  await device.close();
  expect(sink.devices).toEqual([]);
});

it('one that is made is another than any before, whatever its file was given', async () => {
  const { folder, sink, written } = await recordedImages();
  const path = join(folder, 'new.img');
  for (const size of [SIZE, 2 * SIZE, SIZE]) {
    await written(path, { create: { size } });
    await rm(path);
  }
  expect(sink.devices.map(({ size }) => size)).toEqual([SIZE, 2 * SIZE, SIZE]);
  expect(sink.bases).toEqual([[], [], []]);
  expect(told(sink.events).filter((line) => line.startsWith('submit'))).toEqual(
    [0, 1, 2].map((index) => `submit ${index}: disk ${index} write 0+512`),
  );
});

it('one that comes when the recording has ended is as it is', async () => {
  const { image, sink, recording, written } = await recordedImages();
  await recording.end();
  await written(image);
  expect(sink.devices).toEqual([]);
  expect(sink.events).toEqual([]);
});
