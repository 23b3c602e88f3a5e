/**
 * Who has a file open: /proc is searched for descriptors of the same inode. It is for messages, and it is
 * best effort, because other users' processes (and other containers') do not show their descriptors.
 *
 * Source: proc(5), /proc/PID/fdinfo: `flags:`, `ino:` (Linux 5.14 and later) and `lock:` lines.
 */
import { readdir, readFile, stat } from 'node:fs/promises';

export interface Holder {
  readonly pid: number;
  readonly command: string;
}

/** dev and inode: what makes two names one file. */
export interface FileIdentity {
  readonly dev: bigint;
  readonly ino: bigint;
}

const MAX_COMMAND_LENGTH = 120;

/** How sure it is that a descriptor is the one that stands in the way; higher is surer. */
enum Suspicion {
  None,
  OpenForWriting,
  SharedLock,
  ExclusiveLock,
}

/** The process that most likely holds the lock; `exceptFd` is a descriptor of our own that does not count. */
export async function findHolder(file: FileIdentity, exceptFd: number): Promise<Holder | 'unknown'> {
  let best: { pid: number; suspicion: Suspicion } | null = null;
  for (const entry of await listOrNone('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const pid = Number(entry);
    const suspicion = await suspect(pid, file, pid === process.pid ? exceptFd : -1);
    if (suspicion > (best?.suspicion ?? Suspicion.None)) best = { pid, suspicion };
  }
  return best === null ? 'unknown' : { pid: best.pid, command: await commandOf(best.pid) };
}

/** "process 4711 (qemu-system-x86 disk.img)", "this process", or what there is to say. */
export function describeHolder(holder: Holder | 'unknown'): string {
  if (holder === 'unknown') return 'another process';
  if (holder.pid === process.pid) return 'this process';
  return `process ${holder.pid} (${holder.command})`;
}

async function suspect(pid: number, file: FileIdentity, exceptFd: number): Promise<Suspicion> {
  let worst = Suspicion.None;
  for (const fd of await listOrNone(`/proc/${pid}/fd`)) {
    if (Number(fd) === exceptFd) continue;
    const suspicion = await weigh(pid, fd, file);
    if (suspicion > worst) worst = suspicion;
  }
  return worst;
}

async function weigh(pid: number, fd: string, file: FileIdentity): Promise<Suspicion> {
  try {
    const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8');
    const inode = /^ino:\s*(\d+)$/m.exec(info)?.[1];
    // Asking the inode number first spares a stat, which may hang on a dead network filesystem.
    if (inode !== undefined && BigInt(inode) !== file.ino) return Suspicion.None;
    const found = await stat(`/proc/${pid}/fd/${fd}`, { bigint: true });
    if (found.dev !== file.dev || found.ino !== file.ino) return Suspicion.None;
    if (/^lock:.*\b(OFDLCK|POSIX)\b.*\bWRITE\b/m.test(info)) return Suspicion.ExclusiveLock;
    if (/^lock:.*\b(OFDLCK|POSIX)\b.*\bREAD\b/m.test(info)) return Suspicion.SharedLock;
    const flags = Number.parseInt(/^flags:\s*(\d+)$/m.exec(info)?.[1] ?? '0', 8);
    return (flags & 3) === 0 ? Suspicion.None : Suspicion.OpenForWriting;
  } catch {
    // It was closed, its process ended, or it is not ours to see: nothing to say of it.
    return Suspicion.None;
  }
}

async function commandOf(pid: number): Promise<string> {
  try {
    const line = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).replace(/[\0\s]+/g, ' ').trim();
    const command = line === '' ? (await readFile(`/proc/${pid}/comm`, 'utf8')).trim() : line;
    return command.length > MAX_COMMAND_LENGTH ? `${command.slice(0, MAX_COMMAND_LENGTH)}…` : command;
  } catch {
    return 'it has ended';
  }
}

async function listOrNone(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch {
    // The process ended or is another user's; without /proc nobody can be named.
    return [];
  }
}
