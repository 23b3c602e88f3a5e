/**
 * Volumes for tests of the built binary, as files: made once and copied, because a start of the binary takes
 * most of the time of such a test; and what shows that files were not touched.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cp, lstat, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type JsonEnvelope, type JsonResult, runHoldfast, runJson } from './run-holdfast.js';

export interface TestVolume {
  readonly directory: string;
  readonly images: readonly string[];
}

/** Three members with chunks of 4 KiB, so that what is written reaches all of them. */
export const SHAPE = ['--members', '3', '--size', '1MiB', '--chunk', '4KiB'];

/** `holdfast create DIRECTORY FLAGS`, and content from its beginning on. */
export async function makeVolume(
  directory: string,
  content: Uint8Array,
  flags: readonly string[] = SHAPE,
): Promise<TestVolume> {
  await succeed(['create', directory, ...flags]);
  await succeed(['write', directory, '--input', '-'], content);
  return volumeIn(directory);
}

/** Another volume that has the same bytes, as if its directory had been moved. */
export async function copyVolume(from: TestVolume, directory: string): Promise<TestVolume> {
  await cp(from.directory, directory, { recursive: true });
  return volumeIn(directory);
}

async function volumeIn(directory: string): Promise<TestVolume> {
  const names = (await readdir(directory)).filter((name) => name.endsWith('.img')).sort();
  return { directory, images: names.map((name) => join(directory, name)) };
}

async function succeed(args: readonly string[], input?: Uint8Array): Promise<void> {
  const { exitCode, stderr } = await runHoldfast(args, input === undefined ? {} : { input });
  if (exitCode !== 0) throw new Error(`holdfast ${args.join(' ')}: ${exitCode}: ${stderr}`);
}

/** What every regular file below the directories (or each of the files) holds. */
export async function contentOf(...paths: readonly string[]): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const path of paths) {
    const kind = await lstat(path);
    if (kind.isDirectory()) {
      const inside = (await readdir(path)).map((name) => join(path, name));
      for (const [name, hash] of await contentOf(...inside)) found.set(name, hash);
    } else if (kind.isFile()) {
      found.set(
        path,
        createHash('sha256')
          .update(await readFile(path))
          .digest('hex'),
      );
    }
  }
  return found;
}

export interface SeenMember {
  readonly slot: number | null;
  readonly image: string | null;
  readonly state: string;
  readonly reason: string;
}

export interface SeenStatus {
  readonly exitCode: number;
  readonly state: string;
  readonly dirtyStripes: number;
  readonly sizeBytes: number;
  readonly members: readonly SeenMember[];
  readonly problems: readonly { code: string; message: string; hint: string }[];
  readonly holder: { pid: number; command: string } | 'unknown' | null;
}

export async function statusOf(...volume: readonly string[]): Promise<SeenStatus> {
  const { exitCode, json, stdout } = await runJson(['status', ...volume]);
  if (json.result === undefined) throw new Error(`no status of ${volume.join(' ')}: ${stdout}`);
  return { ...(json.result as unknown as Omit<SeenStatus, 'exitCode'>), exitCode };
}

/** All bytes of the volume. */
export async function readAll(...volume: readonly string[]): Promise<Buffer> {
  const { exitCode, stdoutBytes, stderr } = await runHoldfast(['read', ...volume, '--output', '-']);
  if (exitCode !== 0) throw new Error(`read of ${volume.join(' ')}: ${exitCode}: ${stderr}`);
  return stdoutBytes;
}

/** What cannot be tested here is said where nobody can miss it: it must not look tested. */
export function notTested(what: string, why: string): void {
  process.stderr.write(`\n*** NOT TESTED: ${what}: ${why}\n\n`);
}

/** `holdfast ARGS --json`, where no file may grow beyond so many bytes (setrlimit(2), RLIMIT_FSIZE). */
export async function runLimited(bytes: number, args: readonly string[]): Promise<JsonResult> {
  const binary = fileURLToPath(new URL('../../bin/run.js', import.meta.url));
  const words = ['ulimit -f "$0"; exec "$@"', String(bytes / 1024), process.execPath, binary, ...args];
  const { status, stdout, stderr } = spawnSync('bash', ['-c', ...words], { encoding: 'utf8' });
  if (status === null) throw new Error(`no end of its own: ${stderr}`);
  return {
    exitCode: status,
    stdout,
    stdoutBytes: Buffer.from(stdout),
    stderr,
    json: JSON.parse(stdout) as JsonEnvelope,
  };
}
