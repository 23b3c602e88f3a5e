/** `holdfast crash record --fuse`: the disk as a file of the kernel's, what of it the trace has, and that nothing of it is left. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { expectSame } from '../../conformance/block-device.js';
import { isInstalled } from '../../nbd/client/servers.js';
import { told } from '../../support/crash/told-events.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { replayed } from '../../support/lab/replayed.js';
import { ok, type RunOptions, runHoldfast, runJson, runOnTerminal } from '../../support/run-holdfast.js';
import { makeVolume, notTested, readAll } from '../../support/volumes.js';

const BINARY = fileURLToPath(new URL('../../../bin/run.js', import.meta.url));
const MIB = 1024 * 1024;
const LIMIT = { timeout: 60_000 };

function whyNot(): string | null {
  if (process.getuid?.() !== 0) return 'it wants root';
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse';
  return isInstalled('nbdfuse') ? null : 'nbdfuse is not installed';
}

const why = whyNot();
if (why !== null) notTested('a recorded disk as a file', why);

class Place {
  private constructor(
    readonly folder: string,
    /** Where holdfast has its temporary files; a blank in it, because the kernel writes those otherwise. */
    readonly temporary: string,
  ) {}

  static async make(): Promise<Place> {
    const folder = await scratchDirectory();
    const temporary = join(folder, 'for a while');
    await mkdir(temporary);
    return new Place(folder, temporary);
  }

  options(options: RunOptions = {}): RunOptions {
    const env = { TMPDIR: this.temporary, HOLDFAST: `"${process.execPath}" "${BINARY}"`, ...options.env };
    return { ...options, cwd: this.folder, env };
  }

  run(words: readonly string[], options: RunOptions = {}) {
    return runHoldfast(words, this.options(options));
  }

  /** Of `disk.img`, or another. */
  record(script: string, options: RunOptions & { disk?: string; flags?: readonly string[] } = {}) {
    const { disk = 'disk.img', flags = disk === 'disk.img' ? ['--size', '1MiB'] : [], ...rest } = options;
    return this.run(['crash', 'record', disk, ...flags, '--fuse', '--trace', 't.trace', '--', script], rest);
  }

  /** What was asked for, and marks. */
  async trace(): Promise<{ lines: string[]; content: Uint8Array; damage: unknown }> {
    const read = await readTrace(join(this.folder, 't.trace'));
    const lines = told(read.events.filter(({ kind }) => kind !== 'complete'));
    const seen = { lines, content: replayed(read, 0), damage: read.damage };
    read.close();
    return seen;
  }

  /** Mounts, and processes that were told of a place here; folders, too, unless holdfast had no time for them. */
  async expectNothingLeft({ folders = true } = {}): Promise<void> {
    expect(await readFile('/proc/self/mountinfo', 'utf8')).not.toContain(this.folder);
    expect(await this.processes()).toEqual([]);
    if (folders) expect(await readdir(this.temporary)).toEqual([]);
  }

  private async processes(): Promise<string[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const words = await Promise.all(
      pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
    );
    return words.filter((line) => line.includes(this.temporary));
  }
}

const dd = (text: string, at: number, conv = 'notrunc') =>
  `printf '${text}' | dd of="$image" bs=4096 seek=${at} oflag=seek_bytes conv=${conv} 2>/dev/null`;

describe.runIf(why === null)('the disk as a file', () => {
  it('each write(2) is in the trace before it returns, fsync(2) is a flush, and nothing else is one', async () => {
    const place = await Place.make();
    const script = `set -e
test "$(stat -c %s "$image")" = 1048576
dd if=/dev/zero bs=4096 count=1 2>/dev/null | tr '\\0' a | dd of="$image" bs=4096 seek=3 conv=notrunc 2>/dev/null
echo written >&3
sync -f "$image"
${dd('bcd', 70_001, 'notrunc,fsync')}
echo fsynced >&3
${dd('e', 511, 'notrunc')}
test "$(tail -c +70002 "$image" | head -c 3)" = bcd
`;
    const { exitCode, stderr } = await place.record(script);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const { lines, content, damage } = await place.trace();
    expect(damage).toBeNull();
    expect(lines).toEqual([
      'submit 0: disk 0 write 12288+4096',
      'mark written',
      'submit 1: disk 0 write 69632+512',
      'submit 2: disk 0 flush',
      'mark fsynced',
      'submit 3: disk 0 write 0+512',
    ]);
    const wanted = Buffer.alloc(MIB);
    wanted.fill('a', 12_288, 16_384).write('bcd', 70_001);
    wanted.write('e', 511);
    expectSame(content, wanted);
    expectSame(await readFile(join(place.folder, 'disk.img')), wanted);
    await place.expectNothingLeft();
  });

  it('a missing fsync is found, and not where it is there', LIMIT, async () => {
    const place = await Place.make();
    const program = (conv: string) =>
      [1, 2, 3].map((n) => `${dd(`${n}`, n * 4096, conv)}\necho "stored ${n}" >&3`).join('\n');
    const check = `owed=\${mark#stored }; [ -z "$owed" ] || [ "$(tail -c +$((owed * 4096 + 1)) "$image" | head -c 1)" = "$owed" ] || exit 5`;
    const found = async (name: string, conv: string) => {
      const flags = ['--size', '1MiB', '--fuse', '--trace', `${name}.trace`];
      const recorded = await place.run(['crash', 'record', `${name}.img`, ...flags, '--', program(conv)]);
      expect(recorded.exitCode, recorded.stderr).toBe(0);
      const words = ['crash', 'explore', `${name}.trace`, '--check', check];
      const { json, exitCode } = await runJson(words, { cwd: place.folder });
      const { failures } = json.result as unknown as { failures: { kind: string }[] };
      return { kinds: failures.map(({ kind }) => kind), exitCode };
    };
    expect(await found('hasty', 'notrunc')).toEqual({ kinds: ['check exit 5'], exitCode: 4 });
    expect(await found('mended', 'notrunc,fsync')).toEqual({ kinds: [], exitCode: 0 });
  });
});

describe.runIf(why === null)('of what is no image', () => {
  it('another server', async () => {
    const place = await Place.make();
    await writeFile(join(place.folder, 'behind.img'), Buffer.alloc(MIB));
    await writeFile(join(place.folder, 'work.sh'), dd('to be kept', 5000, 'notrunc,fsync'));
    const inner = '$HOLDFAST crash record "$uri" --fuse --trace t.trace -- sh work.sh';
    // The blank in the name of the program is for a shell to see.
    const script = `eval ${inner.replace('"$uri"', `'"$uri"'`)}`;
    const { exitCode, stderr } = await place.run(['serve', 'behind.img', '--run', script]);
    expect(exitCode, stderr).toBe(0);
    const { content } = await place.trace();
    expect(Buffer.from(content.subarray(5000, 5010)).toString()).toBe('to be kept');
    expectSame(await readFile(join(place.folder, 'behind.img')), content);
    await place.expectNothingLeft();
  });

  it('a volume', LIMIT, async () => {
    const place = await Place.make();
    const before = Buffer.alloc(MIB, 'v');
    const { directory } = await makeVolume(join(place.folder, 'volume'), before);
    const { exitCode, stderr } = await place.record(dd('to be kept', 5000), { disk: directory });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    before.write('to be kept', 5000);
    expectSame(await readAll(directory), before);
    await place.expectNothingLeft();
  });

  it('an image with a snapshot', LIMIT, async () => {
    const place = await Place.make();
    const image = join(place.folder, 'kept.img');
    const before = Buffer.alloc(MIB, 'i');
    await writeFile(image, before);
    await ok('snapshot', 'create', image, '--name', 'then');
    const { exitCode, stderr } = await place.record(dd('to be kept', 5000), { disk: image });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    before.write('to be kept', 5000);
    expectSame(await readAll(image), before);
    await place.expectNothingLeft();
  });

  it('a file of a volume', LIMIT, async () => {
    const place = await Place.make();
    const volume = join(place.folder, 'volume');
    await ok('create', volume, '--format', 'extents', '--members', '3', '--size', '8MiB');
    await ok('file', 'create', volume, 'a file', '--size', '1MiB');
    const { exitCode, stderr } = await place.record(dd('to be kept', 5000, 'notrunc,fsync'), {
      disk: volume,
    });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const read = await runHoldfast(['file', 'read', volume, 'a file', '--output', '-']);
    expect(read.stdoutBytes.subarray(5000, 5010).toString()).toBe('to be kept');
    await place.expectNothingLeft();
  });
});

describe.runIf(why === null)('at the end', () => {
  it('of a command that fails, or cannot be started', async () => {
    const place = await Place.make();
    expect((await place.record(`${dd('x', 0)}; exit 7`)).exitCode).toBe(7);
    expect((await place.trace()).lines).toEqual(['submit 0: disk 0 write 0+512']);
    await place.expectNothingLeft();
    const words = ['--fuse', '--trace', 'other.trace', '--', 'no-such-program', 'x'];
    expect((await place.run(['crash', 'record', 'disk.img', ...words])).exitCode).toBe(10);
    expect(existsSync(join(place.folder, 'other.trace'))).toBe(false);
    await place.expectNothingLeft();
  });

  const stopping = (signal: NodeJS.Signals): RunOptions => ({
    onStart(child) {
      child.stdin?.end();
      child.stdout?.once('data', () => child.kill(signal));
    },
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('by %s', async (signal) => {
    const place = await Place.make();
    const { exitCode } = await place.record(`${dd('x', 0)}; echo ready; exec sleep 60`, stopping(signal));
    expect(exitCode).toBe(143);
    expect((await place.trace()).lines).toEqual(['submit 0: disk 0 write 0+512']);
    await place.expectNothingLeft();
  });

  it('by Ctrl-C at a terminal, which all that runs there hear: what the command writes then is in the trace', async () => {
    const place = await Place.make();
    const script = `trap '' TERM; trap '${dd('x', 0).replaceAll("'", '"')}; exit 5' INT; echo ready; sleep 60 & wait; kill $!`;
    const words = [
      'crash',
      'record',
      'disk.img',
      '--size',
      '1MiB',
      '--fuse',
      '--trace',
      't.trace',
      '--',
      script,
    ];
    const { exitCode } = await runOnTerminal(words, {
      ...place.options(),
      awaited: 'ready',
      answers: '\x03',
    });
    expect(exitCode).toBe(5);
    expect((await place.trace()).lines).toEqual(['submit 0: disk 0 write 0+512']);
    await place.expectNothingLeft();
  });

  it('by kill -9: what holdfast cannot unmount is unmounted', LIMIT, async () => {
    const place = await Place.make();
    await place.record(`exec 4<>"$image"; echo ready; exec sleep 1`, stopping('SIGKILL'));
    await expect
      .poll(() => place.expectNothingLeft({ folders: false }).then(() => true), { timeout: 10_000 })
      .toBe(true);
  });

  it('what the command has left running may end, and what it writes is in the trace', LIMIT, async () => {
    const place = await Place.make();
    const script = `sh -c 'sleep 1; printf late' 1<>"$image" &`;
    const { exitCode, stderr } = await place.record(script);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect((await place.trace()).lines).toEqual(['submit 0: disk 0 write 0+512']);
    await place.expectNothingLeft();
  });

  it('what does not end is told, and has no file any more', LIMIT, async () => {
    const place = await Place.make();
    const script = `sh -c 'sleep 20; printf late' 1<>"$image" 2>/dev/null </dev/null 3>&- & echo $! > left`;
    const { exitCode, stderr } = await place.record(script);
    process.kill(Number(await readFile(join(place.folder, 'left'), 'utf8')), 'SIGKILL');
    expect(exitCode).toBe(0);
    expect(stderr).toContain('has the disk open as a file: it is taken away');
    expect((await place.trace()).lines).toEqual([]);
    await place.expectNothingLeft();
  });
});

it.runIf(why === null)('nbdfuse ends amid the run: it is told, and the trace is good', async () => {
  const place = await Place.make();
  const script = `${dd('x', 0)}; kill -9 $(cat "\${image%/fuse/disk}/fuse-ready"); sleep 0.3; ${dd('y', 512)} && exit 3; exit 5`;
  const { exitCode, stderr } = await place.record(script);
  expect(exitCode).toBe(1);
  expect(stderr).toContain('the command goes on without it: nbdfuse has ended by SIGKILL');
  expect(stderr).toContain('the trace is whole, and the command ended with 5');
  const { lines, damage } = await place.trace();
  expect({ lines, damage }).toEqual({ lines: ['submit 0: disk 0 write 0+512'], damage: null });
  await place.expectNothingLeft();
});

describe('is refused, and nothing has begun:', () => {
  /** With another PATH: what it says. */
  async function refused(place: Place, path: string, wanted: number): Promise<string> {
    const { exitCode, stderr } = await place.record('touch has-run', { env: { PATH: path } });
    expect(exitCode, stderr).toBe(wanted);
    for (const name of ['has-run', 't.trace']) expect(existsSync(join(place.folder, name))).toBe(false);
    await place.expectNothingLeft();
    return stderr;
  }

  /** With an nbdfuse of ours. */
  async function refusedBy(script: string, wanted: number): Promise<string> {
    const place = await Place.make();
    const program = join(place.folder, 'nbdfuse');
    await writeFile(program, `#!/bin/sh\n${script}\n`);
    await chmod(program, 0o755);
    return refused(place, `${place.folder}:${process.env.PATH}`, wanted);
  }

  it('there is no nbdfuse', async () => {
    const place = await Place.make();
    // What else it wants.
    for (const program of ['mkfifo', 'sh', 'cat', 'umount']) {
      const path = execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
      await symlink(path, join(place.folder, program));
    }
    const said = await refused(place, place.folder, 1);
    expect(said).toContain('--fuse: nbdfuse cannot be started: no such program');
    expect(said).toContain('Without --fuse the command has the disk by $uri');
  });

  it('it may not mount', async () => {
    const said = await refusedBy('echo "fuse: mount failed: Operation not permitted" >&2; exit 1', 1);
    expect(said).toContain(
      'nbdfuse has ended with exit code 1 (fuse: mount failed: Operation not permitted)',
    );
    expect(said).toContain('Without --fuse the command has the disk by $uri');
  });

  it('Ctrl-C before it is mounted', async () => {
    const said = await refusedBy('kill -INT $PPID; exec sleep 60', 130);
    expect(said).toMatch(/^Error: interrupted by SIGINT\n/);
  });
});
