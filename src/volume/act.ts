/**
 * Work on a volume that nobody has open, or a server: it is done where the volume is open.
 *
 * The volume is opened first: the lock of its images tells whether somebody has it, and a socket that a dead server
 * left tells nothing. Who has it locked and does not serve it is named by the error.
 */
import type { Socket } from 'node:net';
import { UserError } from '../errors.js';
import { closeFailed, thenClose } from './closing.js';
import { askServer, atServer } from './control/control-client.js';
import type { OperationReporting } from './control/control-server.js';
import { controlDirectories, type SocketKind } from './control/places.js';
import { heldAsFiles, refuseFiles } from './extents.js';
import { type Located, locateVolume } from './locate.js';
import type { OpenVolumeOptions, Volume } from './model.js';
import {
  OPERATIONS,
  type OperationArguments,
  type OperationName,
  type OperationResult,
  runOperation,
} from './operations.js';
import { absoluteImage } from './remote.js';
import { IS_SECONDARY } from './replication/no-secondary.js';
import { SERVING_STATUS, type ServingStatus } from './serving-status.js';
import { snapshotOf } from './snapshots/as-volume.js';
import { noSnapshot } from './snapshots/operations.js';
import { openVolume, rawVolume } from './volume.js';

export interface ActOptions extends Omit<OpenVolumeOptions, 'access' | 'asRaw' | 'warn' | 'sweep'> {
  readonly reporting: OperationReporting;
  /** It was opened here: before the operation begins. */
  readonly onOpen?: (volume: Volume) => void;
}

/** Does an operation on the volume, here or in its server. @throws what opening and the operation throw. */
export async function act<N extends OperationName>(
  names: readonly string[],
  name: N,
  args: OperationArguments<N>,
  { reporting, onOpen, ...options }: ActOptions,
): Promise<OperationResult<N>> {
  const { signal, onProgress, warn } = reporting;
  const { access } = OPERATIONS[name];
  const opening = { ...options, access, warn, sweep: { signal, onProgress } };
  const opened = await openOrAsk(names, opening, 'control', ({ socket }) =>
    askServer(socket, name, fromAnywhere(args), reporting),
  );
  if ('answer' in opened) return opened.answer as OperationResult<N>;
  const { volume } = opened;
  onOpen?.(volume);
  return thenClose(volume, warn, () => runOperation(volume, name, args, reporting));
}

/** They name images: the server may run in another directory. */
const IMAGE_ARGUMENTS: ReadonlySet<string> = new Set(['image', 'to']);

function fromAnywhere(args: object): Record<string, unknown> {
  const named = Object.entries(args).map(([key, value]: [string, unknown]) =>
    IMAGE_ARGUMENTS.has(key) && typeof value === 'string' ? [key, absoluteImage(value)] : [key, value],
  );
  return Object.fromEntries(named) as Record<string, unknown>;
}

/** `snapshot`: what that one held, of a volume that is opened for reading. */
export interface OpenDataOptions extends OpenVolumeOptions {
  readonly snapshot?: string | undefined;
}

/** Opens the volume for its bytes, which one of files has for itself: where it is served, they come from its server, and there is no array to look at. */
export async function openForData(names: readonly string[], options: OpenDataOptions): Promise<Volume> {
  const { snapshot } = options;
  const opened = await openOrAsk(names, options, 'data', async ({ socket, path, located }) => {
    // It has told that somebody serves there; a client of NBD makes a connection of its own.
    socket.destroy();
    if (snapshot === undefined) await refuseServedFiles(located, options.access);
    const { NbdDevice } = await import('../nbd/client/nbd-device.js');
    const name = snapshot === undefined ? '' : await snapshotExport(located, snapshot);
    const uri = `nbd+unix:///${encodeURIComponent(name)}?socket=${encodeURIComponent(path)}`;
    const readOnly = options.access === 'read';
    return rawVolume(located, await NbdDevice.open(uri, { readOnly, reconnect: { tries: 0 } }));
  });
  if ('answer' in opened) return opened.answer;
  const { volume } = opened;
  if (options.asRaw === true) return volume;
  try {
    // Its bytes are those of a moment: they change behind nobody's back.
    if (snapshot !== undefined) return snapshotOf(volume, snapshot);
    refuseFiles(volume, options.access === 'read' ? 'read' : 'written');
    return volume;
  } catch (error) {
    await closeFailed(volume.label, () => volume.close(), options.warn);
    throw error;
  }
}

/** By which name the server of the volume has it. */
async function snapshotExport(located: Located, name: string): Promise<string> {
  const status = (await atServer(controlDirectories(located), 'control', (socket) =>
    askServer(socket, SERVING_STATUS, {}),
  )) as ServingStatus | null;
  const found = status?.snapshots.find((one) => one.name === name);
  if (found === undefined) throw noSnapshot(located.label, name);
  if (found.state === 'good') return `${status!.volumeName}@${name}`;
  throw new UserError('METADATA_DAMAGED', `snapshot ${name} cannot be used: ${found.reason}`, {
    hint: 'Delete it: holdfast snapshot delete.',
    details: { image: located.label },
  });
}

/** As raw bytes too: under the empty name a server of files has one of them, and not the volume. */
async function refuseServedFiles(located: Located, access: OpenVolumeOptions['access']): Promise<void> {
  const asked = await atServer(controlDirectories(located), 'control', (socket) =>
    askServer(socket, 'format', {}),
  );
  const answer = asked as OperationResult<'format'> | null;
  if (answer?.format === 'extents')
    throw heldAsFiles(located.label, 'volume', access === 'read' ? 'read' : 'written');
}

export interface ServedElsewhere {
  readonly socket: Socket;
  /** What `socket` is connected to; good as long as it is used. */
  readonly path: string;
  readonly located: Located;
}

/** Opens the volume; where a server has it, `ask` has its answer. @throws IN_USE where who has it serves it not. */
export async function openOrAsk<R>(
  names: readonly string[],
  options: OpenVolumeOptions,
  kind: SocketKind,
  ask: (server: ServedElsewhere) => Promise<R>,
): Promise<{ readonly volume: Volume } | { readonly answer: R }> {
  try {
    return { volume: await openVolume(names, options) };
  } catch (error) {
    if (!(error instanceof UserError) || !mayBeServed(error, kind)) throw error;
    const located = await locateVolume(names);
    const found = await atServer(controlDirectories(located), kind, async (socket, path) => ({
      answer: await ask({ socket, path, located }),
    }));
    if (found === null) throw error;
    return found;
  }
}

/** A secondary is not opened, whoever has it: what may be done to it is its server's to say. */
function mayBeServed({ code, details }: UserError, kind: SocketKind): boolean {
  return code === 'IN_USE' || (kind === 'control' && details.reason === IS_SECONDARY);
}
