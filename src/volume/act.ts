/**
 * Work on a volume that nobody has open, or a server: it is done where the volume is open.
 *
 * The volume is opened first: the lock of its images tells whether somebody has it, and a socket that a dead server
 * left tells nothing. Who has it locked and does not serve it is named by the error.
 */
import type { Socket } from 'node:net';
import { resolve } from 'node:path';
import { UserError } from '../errors.js';
import { NbdDevice } from '../nbd/client/nbd-device.js';
import { thenClose } from './closing.js';
import { askServer, connectTo } from './control/control-client.js';
import type { OperationReporting } from './control/control-server.js';
import { controlDirectories, SocketDirectory, type SocketKind } from './control/places.js';
import { type Located, locateVolume } from './locate.js';
import type { OpenVolumeOptions, Volume } from './model.js';
import {
  OPERATIONS,
  type OperationArguments,
  type OperationName,
  type OperationResult,
  runOperation,
} from './operations.js';
import { cached, closeInOrder, RAW_STRIPE_BYTES } from './stack.js';
import { openVolume } from './volume.js';

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
  const found = await openOrConnect(names, opening, 'control');
  if ('socket' in found) {
    return (await askServer(found.socket, name, fromAnywhere(args), reporting)) as OperationResult<N>;
  }
  onOpen?.(found.volume);
  return thenClose(found.volume, warn, () => runOperation(found.volume, name, args, reporting));
}

/** Who serves the volume may be in another directory. */
function fromAnywhere(args: object): Record<string, unknown> {
  return 'image' in args && typeof args.image === 'string'
    ? { ...args, image: resolve(args.image) }
    : { ...args };
}

/** Opens the volume for its bytes: where it is served, they come from its server, and there is no array to look at. */
export async function openForData(names: readonly string[], options: OpenVolumeOptions): Promise<Volume> {
  const found = await openOrConnect(names, options, 'data');
  if ('volume' in found) return found.volume;
  found.socket.destroy();
  const { directory, located } = found;
  const served = await SocketDirectory.find(directory);
  if (served === null) throw new UserError('VOLUME_NOT_FOUND', `${directory}: the server has gone`);
  const uri = `nbd+unix:///?socket=${encodeURIComponent(served.socket('data'))}`;
  try {
    const readOnly = options.access === 'read';
    const remote = await NbdDevice.open(uri, { readOnly, reconnect: { tries: 0 } });
    // To the byte, as a volume that is opened here.
    const device = readOnly ? remote : cached(remote, RAW_STRIPE_BYTES);
    const upper = readOnly ? [] : [() => device.flush(), () => device.close()];
    return {
      label: located.label,
      located,
      device,
      array: null,
      judgement: null,
      recovery: null,
      release: () => Promise.resolve(),
      adopt: () => undefined,
      close: () => closeInOrder([...upper, () => remote.close(), () => served.close()]),
    };
  } catch (error) {
    await served.close();
    throw error;
  }
}

type Found =
  | { readonly volume: Volume }
  | { readonly socket: Socket; readonly directory: string; readonly located: Located };

async function openOrConnect(
  names: readonly string[],
  options: OpenVolumeOptions,
  kind: SocketKind,
): Promise<Found> {
  try {
    return { volume: await openVolume(names, options) };
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== 'IN_USE') throw error;
    const located = await locateVolume(names);
    const server = await connectTo(controlDirectories(located), kind);
    if (server === null) throw error;
    return { ...server, located };
  }
}
