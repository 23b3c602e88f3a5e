/**
 * Room for what a unix socket has taken and its peer has not read yet: 208 KiB as the kernel gives it (net.core.wmem_default),
 * so that a reply of 1 MiB leaves in five turns of writing, waiting and being woken. Over TCP the kernel widens by itself
 * what it needs (tcp(7), tcp_wmem), and asking for a size would end that.
 *
 * Node has no call for it, and the number of a socket's descriptor lies in its undocumented `_handle`: where either is
 * missing the socket stays as it is. The kernel bounds what is asked for by net.core.wmem_max, without an error.
 */
import type { Socket } from 'node:net';
import { bindC } from '../../device/c-library.js';

/** Of each socket; the kernel counts its own overhead in, and doubles it for that (socket(7), SO_SNDBUF). */
const SEND_ROOM_BYTES = 2 * 1024 * 1024;

/** Linux's own numbers, the same on x64 and arm64. */
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;

type SetOption = (fd: number, level: number, name: number, value: Uint8Array, bytes: number) => number;

let setOption: Promise<SetOption | null> | null = null;

function loadSetOption(): Promise<SetOption | null> {
  return bindC((koffi) => koffi.load(null).func('int setsockopt(int, int, int, const uint8_t *, uint32_t)'));
}

/** Ends when it has been asked for; of a socket that is none of unix, or is closed by then, nothing is. */
export async function widenSendRoom(socket: Socket): Promise<void> {
  setOption ??= loadSetOption();
  const set = await setOption;
  const { fd } = (socket as unknown as { readonly _handle?: { readonly fd?: number } | null })._handle ?? {};
  if (set === null || fd === undefined || fd < 0 || socket.remoteAddress !== undefined) return;
  const value = Buffer.alloc(4);
  value.writeInt32LE(SEND_ROOM_BYTES);
  set(fd, SOL_SOCKET, SO_SNDBUF, value, value.byteLength);
}
