/** Images that join a volume or leave it, in the manifest of its directory, if it has one. */
import { manifestPath } from './locate.js';
import { readManifest, writeManifest } from './manifest.js';
import type { Volume } from './model.js';

export async function listImage(volume: Volume, image: string): Promise<void> {
  await editImages(volume, (images, path) => (images.includes(path) ? images : [...images, path]), image);
}

export async function unlistImage(volume: Volume, image: string): Promise<void> {
  await editImages(volume, (images, path) => images.filter((entry) => entry !== path), image);
}

async function editImages(
  volume: Volume,
  edit: (images: readonly string[], path: string) => readonly string[],
  image: string,
): Promise<void> {
  const { directory } = volume.located;
  // What it says now: it was located before the images were locked, and others may have changed it.
  const manifest = directory === null ? null : await readManifest(directory);
  if (directory === null || manifest === null) return;
  const images = [...edit(manifest.images, manifestPath(directory, image))];
  await writeManifest(directory, { ...manifest, images });
}
