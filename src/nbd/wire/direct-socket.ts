/**
 * Sockets that receive into memory of ours: where the next bytes go is asked before they come, so that a long payload
 * arrives where it is wanted, in few calls of the operating system and without a new buffer for each.
 *
 * Node has this for sockets that are constructed (net.Socket, option `onread`) and not for those that a server accepts:
 * what was accepted is therefore taken over by a socket that is constructed around its handle. `handle` is what Node's own
 * server gives to that constructor, and is not documented; where it is not as expected the accepted socket serves as it is.
 *
 * Invariants
 * - Only a socket of which nobody has read yet is taken over; nothing is lost between the two.
 * - Bytes lie where `room` said, and `room` is asked again before the next ones are received.
 */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';

/** Who receives. */
export interface Receiver {
  /** Where the next bytes are to go: not empty. */
  room(): Uint8Array;
  /** What has come, in what `room` gave last. */
  received(bytes: Buffer): void;
}

interface Handle {
  /** As the binding has it: from then on it reads into that memory. */
  readonly useUserBuffer?: unknown;
}

/** Who receives from which socket: somebody else after a handshake. */
interface Link {
  receiver: Receiver | null;
}

/** Of a handshake: enough until there is a receiver. */
const FIRST_ROOM_BYTES = 64 * 1024;

const links = new WeakMap<Socket, Link>();

/** The socket to go on with, in the place of one that was just accepted. */
export function receivingDirectly(accepted: Socket): Socket {
  const hidden = accepted as unknown as { _handle?: Handle | null };
  const handle = hidden._handle;
  if (typeof handle?.useUserBuffer !== 'function') return accepted;
  const link: Link = { receiver: null };
  const options: SocketConstructorOpts & { readonly handle: Handle; readonly onread: OnReadOpts } = {
    handle,
    allowHalfOpen: accepted.allowHalfOpen,
    onread: {
      buffer: () => link.receiver?.room() ?? new Uint8Array(FIRST_ROOM_BYTES),
      callback: (bytes, buffer) => {
        if (link.receiver === null) throw new Error('bytes came for which there is no receiver');
        link.receiver.received(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
        return true;
      },
    },
  };
  hidden._handle = null;
  const socket = new Socket(options);
  links.set(socket, link);
  // It has no handle any more: nothing is closed, and its server no longer counts it.
  accepted.destroy();
  return socket;
}

/** False: what the socket receives is had by its events. */
export function receive(socket: Socket, receiver: Receiver | null): boolean {
  const link = links.get(socket);
  if (link !== undefined) link.receiver = receiver;
  return link !== undefined;
}
