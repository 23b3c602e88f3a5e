/**
 * The bytes of one file of an extents volume: opened here, or at the server that has the volume open, where each file is
 * an export of its own.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { type ExtentFile, FileDevice } from '../extents/index.js';
import { noSuchFile } from '../metadata/server/refusals.js';
import { openOrAsk, type ServedElsewhere } from './act.js';
import { thenClose } from './closing.js';
import { storeOf } from './file-operations.js';
import type { CommitTarget } from './file-stream.js';
import type { OpenVolumeOptions, Volume } from './model.js';
import { rawVolume } from './volume.js';

export interface OpenFileOptions extends OpenVolumeOptions {
  /** Read what is not committed too. */
  readonly uncommitted?: boolean;
  /** What a write does that finds no room in the journal. */
  readonly onJournalFull?: 'commit' | 'fail';
}

/** A file, open; of one that is at a server there are its bytes alone. */
export interface OpenFile {
  readonly name: string;
  readonly volume: Volume;
  /** Its bytes as they were when it was opened: for reading. */
  readonly device: BlockDevice;
  readonly target: CommitTarget;
  /** null: it is at the volume's server. */
  readonly file: ExtentFile | null;
  /** When all that was committed is complete. */
  settled(): Promise<void>;
}

/** Opens the file, does `use` with it, and closes it and its volume, whatever came of it. */
export async function withFile<R>(
  names: readonly string[],
  name: string,
  options: OpenFileOptions,
  use: (file: OpenFile) => Promise<R>,
): Promise<R> {
  const opened = await openOrAsk(names, options, 'data', (server) => atServer(server, name, options));
  if ('answer' in opened) {
    const { answer } = opened;
    return thenClose(answer.volume, options.warn, () => use(answer));
  }
  const { volume } = opened;
  return thenClose(volume, options.warn, async () => {
    const store = await storeOf(volume);
    const file = await store.openFile(name, options);
    try {
      return await use({
        name,
        volume,
        device: new FileDevice(file),
        target: { name, size: Number.MAX_SAFE_INTEGER, write: writerOf(file), commit: () => file.commit() },
        file,
        settled: () => store.settled(),
      });
    } finally {
      await file.close();
    }
  });
}

function writerOf(file: ExtentFile): BlockDevice['write'] {
  return async (offset, from, { fua } = {}) => {
    await file.write(offset, from);
    if (fua === true) await file.commit();
  };
}

async function atServer(
  { socket, path, located }: ServedElsewhere,
  name: string,
  { access }: OpenFileOptions,
): Promise<OpenFile> {
  // It has told that somebody serves there; a client of NBD makes a connection of its own.
  socket.destroy();
  const { NbdDevice } = await import('../nbd/client/nbd-device.js');
  const uri = `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURIComponent(path)}`;
  const readOnly = access === 'read';
  const opening = NbdDevice.open(uri, { readOnly, isFile: true, reconnect: { tries: 0 } });
  const volume = rawVolume(
    located,
    await opening.catch((error: unknown) => {
      throw ofFile(error, name);
    }),
  );
  const { device } = volume;
  const target = {
    name,
    size: device.size,
    write: device.write.bind(device),
    commit: () => device.flush(),
  };
  return { name, volume, device, target, file: null, settled: async () => undefined };
}

/** What the server says of an export, said of the file: its URI is nothing that the user has named. */
function ofFile(error: unknown, name: string): unknown {
  if (!(error instanceof UserError)) return error;
  if (error.code === 'VOLUME_NOT_FOUND') return noSuchFile(name);
  if (error.code !== 'PERMISSION_DENIED') return error;
  return new UserError(
    'PERMISSION_DENIED',
    `${name} cannot be written: it is a snapshot, or its volume is served for reading only`,
    { hint: 'holdfast file list tells which files are snapshots', details: { file: name }, cause: error },
  );
}
