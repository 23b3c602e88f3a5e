/**
 * Volumes of the format extents for tests of the built binary: made as files, and filled through the metadata server as
 * a client does it, up to any point of a commit.
 */
import { thenClose } from '../../src/volume/closing.js';
import { type ExtentsVolume, LOCAL_CLIENT, openExtents } from '../../src/volume/extents.js';
import { openVolume } from '../../src/volume/volume.js';
import { runJson } from './run-holdfast.js';

export const EXTENT_BYTES = 64 * 1024;
export const BLOCK_BYTES = 4096;

/** Flags of `create` for the shapes that tests go through. */
export const SHAPES = {
  'one image': ['--members', '1', '--size', '1MiB'],
  'RAID-5': ['--members', '3', '--chunk', '16KiB', '--size', '1MiB', '--extent', '64KiB'],
} as const;

/** `holdfast create --format extents`; `directory` is of the volume. */
export async function makeExtents(directory: string, flags: readonly string[]): Promise<void> {
  const { exitCode, stderr, stdout } = await runJson(['create', directory, '--format', 'extents', ...flags]);
  if (exitCode !== 0) throw new Error(`create ${directory}: ${exitCode}: ${stderr}${stdout}`);
}

/** With metadata and journal in images of their own, below the directory. */
export function withImages(directory: string): string[] {
  const [metadata, journal] = [`${directory}/metadata.img`, `${directory}/journal.img`];
  return ['--metadata', metadata, '--journal-image', journal, '--journal-size', '512KiB'];
}

export interface OpenedExtents extends ExtentsVolume {
  readonly warnings: readonly string[];
}

/** Opens it as a process of its own would. */
export async function withExtents<R>(
  directory: string,
  access: 'read' | 'write',
  use: (extents: OpenedExtents) => Promise<R>,
): Promise<R> {
  const warnings: string[] = [];
  const warn = (message: string) => void warnings.push(message);
  const volume = await openVolume([directory], { access, warn });
  return thenClose(volume, warn, async () => {
    const extents = await openExtents(volume, { warn });
    try {
      return await use({ ...extents, warnings });
    } finally {
      await extents.close();
    }
  });
}

export interface WrittenFile {
  readonly file: number;
  readonly journal: number;
}

/** One extent, with its first blocks marked; `marked` as a number of bits. */
export function bitmap(marked: number): Uint8Array {
  const bits = new Uint8Array(EXTENT_BYTES / BLOCK_BYTES / 8);
  for (let bit = 0; bit < marked; bit++) bits[bit >> 3]! |= 1 << (bit & 7);
  return bits;
}

/**
 * Makes a file of one extent and writes `content` into a journal extent for it, durably. `until`: `association` tells the
 * server nothing of what was written; `flags` keeps it; `hardening` commits it, and leaves its completion to others.
 */
export async function writeFile(
  { service, pool }: ExtentsVolume,
  name: string,
  content: Uint8Array,
  until: 'association' | 'flags' | 'hardening',
): Promise<WrittenFile> {
  const client = LOCAL_CLIENT;
  await service.request({ type: 'Open_Client', client });
  const { file } = await service.request({ type: 'Create_File', client, name, sizeBytes: EXTENT_BYTES });
  const { extents } = await service.request({ type: 'Allocate_Journal_Space', client, count: 1 });
  const journal = extents[0]!;
  const { device, offsetBytes } = pool.locate(journal);
  await device.write(offsetBytes, content);
  await device.flush();
  await service.request({ type: 'Associate_Data_Journal', client, file, index: 0, journal });
  if (until === 'association') return { file, journal };
  const marked = bitmap(Math.ceil(content.byteLength / BLOCK_BYTES));
  const flags = { file, index: 0, journal, marked, cleared: bitmap(0) };
  const starts = until === 'hardening';
  const sizes = starts ? [] : [{ file, sizeBytes: EXTENT_BYTES }];
  await service.request({ type: 'Harden_Extent_Flags', client, extents: [flags], sizes, starts });
  return { file, journal };
}

/** What the file's extent holds on the pool: only what is complete. */
export async function readFile({ service, pool }: ExtentsVolume, name: string): Promise<Uint8Array | null> {
  const client = LOCAL_CLIENT;
  await service.request({ type: 'Open_Client', client });
  const { file } = await service.request({ type: 'Look_Up_File', client, name });
  const { extents } = await service.request({ type: 'Map_Extents', client, file, from: 0, count: 1 });
  const [{ extent }] = extents as [(typeof extents)[0]];
  if (extent === null) return null;
  const { device, offsetBytes } = pool.locate(extent);
  const bytes = new Uint8Array(EXTENT_BYTES);
  await device.read(offsetBytes, bytes);
  return bytes;
}
