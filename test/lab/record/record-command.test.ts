/** `holdfast crash record` as a user runs it, on images, and what its trace reads as. */
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { access, copyFile, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { TraceEvent } from '../../../src/crash/trace.js';
import { readTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { expectSame } from '../../conformance/block-device.js';
import { DEBIAN_PYTHON, isInstalled, pythonHasLibnbd } from '../../nbd/client/servers.js';
import { told } from '../../support/crash/told-events.js';
import { scratchDirectory } from '../../support/devices/scratch.js';
import { baseOf, replayed } from '../../support/lab/replayed.js';
import { type JsonEnvelope, type RunOptions, runHoldfast } from '../../support/run-holdfast.js';

const BINARY = fileURLToPath(new URL('../../../bin/run.js', import.meta.url));
const MIB = 1024 * 1024;
const hasQemuIo = isInstalled('qemu-io');
const hasNbdcopy = isInstalled('nbdcopy');
const hasLibnbd = pythonHasLibnbd();

interface Place {
  readonly folder: string;
  readonly image: string;
  readonly trace: string;
}

async function place(): Promise<Place> {
  const folder = await scratchDirectory();
  return { folder, image: join(folder, 'disk.img'), trace: join(folder, 't.trace') };
}

async function imageOf(content: Uint8Array): Promise<Place> {
  const made = await place();
  await writeFile(made.image, content);
  return made;
}

/** `flags` stand before the `--`. */
function record(
  { image, trace }: Place,
  command: readonly string[],
  flags: readonly string[] = [],
  options: RunOptions = {},
) {
  return runHoldfast(['crash', 'record', image, '--trace', trace, ...flags, '--', ...command], options);
}

async function recordJson(at: Place, command: readonly string[], flags: readonly string[] = []) {
  const result = await record(at, command, ['--json', ...flags]);
  expect(result.stdout).toMatch(/^\{.*\}\n$/);
  return { ...result, json: JSON.parse(result.stdout) as JsonEnvelope };
}

async function traceOf({ trace }: Place) {
  const read = await readTrace(trace);
  return { ...described(read.events), read };
}

function described(events: readonly TraceEvent[]) {
  return { told: told(events), submitted: told(events.filter(({ kind }) => kind !== 'complete')) };
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

describe.runIf(hasQemuIo)('of qemu-io', () => {
  const commands = [
    'write -P 7 0 8k',
    'flush',
    'write -f -P 9 64k 4k',
    'discard 128k 64k',
    'write -zu 1M 64k',
  ];
  const words = commands.flatMap((text) => ['-c', text]);

  it('each write, flush, trim and zeroing is in the trace, with its bytes, and the image has them', async () => {
    const at = await place();
    const script = `qemu-io -f raw -t writeback ${commands.map((text) => `-c "${text}"`).join(' ')} "$uri"`;
    const { exitCode, stdout, stderr } = await record(at, [script], ['--size', '2MiB']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    expect(stdout).toContain('wrote 8192/8192 bytes');
    expect(stdout).toContain('writes 2, zeroes 1, trims 1, flushes');
    const { submitted, read } = await traceOf(at);
    expect(read.damage).toBeNull();
    expect(read.command).toEqual([script]);
    expect(read.devices).toEqual([expect.objectContaining({ name: at.image, size: 2 * MIB })]);
    expect(submitted.slice(0, 5)).toEqual([
      'submit 0: disk 0 write 0+8192',
      'submit 1: disk 0 flush',
      'submit 2: disk 0 write 65536+4096 fua',
      'submit 3: disk 0 trim 131072+65536',
      'submit 4: disk 0 write-zeroes 1048576+65536',
    ]);
    // qemu-io flushes when it closes; nobody else does.
    expect(submitted.slice(5)).toEqual(['submit 5: disk 0 flush']);
    const [first] = read.events;
    expectSame((first as { operation: { bytes: Uint8Array } }).operation.bytes, Buffer.alloc(8192, 7));
    const wanted = Buffer.alloc(2 * MIB);
    wanted.fill(7, 0, 8192).fill(9, 65_536, 65_536 + 4096);
    expectSame(await readFile(at.image), wanted);
    read.close();
  });

  it('started without a shell', async () => {
    const at = await imageOf(Buffer.alloc(2 * MIB));
    const inner = ['sh', '-c', 'exec qemu-io -f raw "$@" "$uri"', 'sh', ...words];
    const { json, stderr } = await recordJson(at, inner);
    // What it prints is not lost, and not in the result.
    expect(stderr).toContain('wrote 8192/8192 bytes');
    expect(json).toMatchObject({ command: 'crash record', exitCode: 0, warnings: [] });
    const { size } = await stat(at.trace);
    expect(json.result).toMatchObject({
      trace: at.trace,
      devices: [{ name: at.image, sizeBytes: 2 * MIB }],
      ...{ writes: 2, zeroes: 1, trims: 1, marks: 0, refusedMarks: 0, exitCode: 0, traceBytes: size },
    });
  });

  it('alone: the trace has what the image held before', async () => {
    const before = randomBytes(MIB);
    before.fill(0, 4096, 300_000);
    const at = await imageOf(before);
    await copyFile(at.image, `${at.image}.before`);
    const { exitCode } = await record(at, [
      'qemu-io -f raw -c "write -P 1 4k 512" -c "write -P 2 500k 9k" "$uri"',
    ]);
    expect(exitCode).toBe(0);
    const { read } = await traceOf(at);
    expectSame(baseOf(read, 0), before);
    expectSame(replayed(read, 0), await readFile(at.image));
    read.close();
  });
});

it.runIf(hasNbdcopy)('nbdcopy, by several connections: the trace has all of it', async () => {
  const content = randomBytes(8 * MIB);
  const at = await imageOf(Buffer.alloc(8 * MIB));
  const source = join(at.folder, 'source');
  await writeFile(source, content);
  const { exitCode, stderr } = await record(at, [`nbdcopy --connections 4 --flush '${source}' "$uri"`]);
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  const { read, told: lines } = await traceOf(at);
  expectSame(replayed(read, 0), content);
  expect(lines.at(-1)).toMatch(/^complete \d+: disk 0 flush$/);
  read.close();
});

describe.runIf(hasLibnbd)('marks of a program with libnbd', () => {
  const PROGRAM = `
import nbd, os, socket
h = nbd.NBD()
h.connect_uri(os.environ["uri"])
marks = socket.socket(socket.AF_UNIX)
marks.connect(os.environ["HOLDFAST_MARKS"])
fd = int(os.environ["HOLDFAST_MARK_FD"])
for i in range(5):
    h.pwrite(bytes([i + 1]) * 512, i * 512)
    os.write(fd, b"written %d\\n" % i)
    h.flush()
    marks.sendall(b"flushed %d\\n" % i)
    assert marks.recv(100) == b"ok\\n"
h.pwrite(bytes(512), 8192, nbd.CMD_FLAG_FUA)
os._exit(0)
`;

  it('come behind what was answered before, also when it does not disconnect', async () => {
    const at = await place();
    const { exitCode, stderr } = await record(at, [DEBIAN_PYTHON, '-c', PROGRAM], ['--size', '1MiB']);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    const { told: lines, read } = await traceOf(at);
    for (let i = 0; i < 5; i++) {
      const written = lines.indexOf(`complete ${2 * i}: disk 0 write ${i * 512}+512`);
      expect(written).toBeGreaterThanOrEqual(0);
      expect(lines.indexOf(`mark written ${i}`)).toBeGreaterThan(written);
      expect(lines.indexOf(`mark flushed ${i}`)).toBeGreaterThan(
        lines.indexOf(`complete ${2 * i + 1}: disk 0 flush`),
      );
    }
    expect(lines.at(-1)).toBe('complete 10: disk 0 write 8192+512 fua');
    expect(read.damage).toBeNull();
    read.close();
  });
});

describe('its environment and its end', () => {
  it('are those of serve --run', async () => {
    const at = await place();
    const { exitCode, stdout } = await record(
      at,
      [
        'echo "$exportname|$uri|$unixsocket|$HOLDFAST_MARK_FD"; test -S "$HOLDFAST_MARKS" && test -p /dev/fd/3',
      ],
      ['--size', '1MiB'],
    );
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^disk\.img\|nbd\+unix:\/\/\/disk\.img\?socket=(\S+)\|\1\|3\n/);
  });

  it('the code of a command that fails is ours, and the trace is kept', async () => {
    const at = await place();
    const { exitCode, stdout, stderr } = await record(
      at,
      ['echo said; echo "begun" >&3; exit 7'],
      ['--size', '1MiB'],
    );
    expect({ exitCode, stderr }).toEqual({ exitCode: 7, stderr: '' });
    expect(stdout).toMatch(/^said\n/);
    expect(stdout).toContain('the command ended with 7');
    const { told: lines, read } = await traceOf(at);
    expect({ lines, damage: read.damage }).toEqual({ lines: ['mark begun'], damage: null });
    read.close();
  });

  it('words are no business of a shell', async () => {
    const at = await place();
    const { exitCode, stdout } = await record(at, ['echo', '$uri', 'a  b;c'], ['--size', '1MiB']);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^\$uri a {2}b;c\n/);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('%s ends the command, and the trace is whole', async (signal) => {
    const at = await place();
    const { exitCode } = await record(
      at,
      ['sh', '-c', 'echo up >&3; echo ready; exec sleep 60'],
      ['--size', '1MiB'],
      {
        onStart(child) {
          child.stdin?.end();
          child.stdout?.once('data', () => child.kill(signal));
        },
      },
    );
    expect(exitCode).toBe(143);
    const { told: lines, read } = await traceOf(at);
    expect({ lines, damage: read.damage }).toEqual({ lines: ['mark up'], damage: null });
    read.close();
  });

  it.runIf(hasQemuIo)('kill -9 leaves a trace that reads up to there', async () => {
    const at = await place();
    const script =
      'qemu-io -f raw -c "write -P 7 0 64k" -c "write -P 8 64k 64k" "$uri" >/dev/null; echo done >&3; sleep 0.7; echo ready; exec sleep 1';
    const { exitCode } = await record(at, [script], ['--size', '1MiB'], {
      onStart(child) {
        child.stdin?.end();
        child.stdout?.once('data', () => child.kill('SIGKILL'));
      },
    });
    expect(exitCode).toBe(137);
    const { submitted, read } = await traceOf(at);
    expect(read.damage).not.toBeNull();
    expect(submitted.filter((line) => !line.includes('flush'))).toEqual([
      'submit 0: disk 0 write 0+65536 fua',
      'submit 1: disk 0 write 65536+65536 fua',
      'mark done',
    ]);
    expectSame(replayed(read, 0), await readFile(at.image));
    read.close();
  });
});

it.runIf(hasQemuIo)('a trace on a full disk: the command goes on, and is told at the end', async () => {
  const at = await place();
  const contents = await Promise.all(
    Array.from({ length: 6 }, async (_, i) => {
      const content = randomBytes(256 * 1024);
      await writeFile(join(at.folder, `content-${i}`), content);
      return content;
    }),
  );
  const script = `for i in 0 1 2 3 4 5; do qemu-io -f raw -c "write -s content-$i 0 256k" "$uri" >/dev/null || exit 9; done; exit 5`;
  const words = ['crash', 'record', 'disk.img', '--size', '256KiB', '--trace', 't.trace', '--', script];
  // A file that is too long for its limit is refused as one for which there is no room; 1 MiB here.
  const limited = ['-c', 'ulimit -f 2048; exec "$@"', 'sh', process.execPath, BINARY, ...words];
  const { status, stdout, stderr } = spawnSync('sh', limited, { cwd: at.folder, encoding: 'utf8' });
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toContain('the recording has ended, and the command goes on without it');
  expect(stderr).toContain('the recording ended there');
  expect(stderr).toContain('and ended with 5');
  expectSame(await readFile(at.image), contents.at(-1)!);
  const { submitted, read } = await traceOf(at);
  expect(read.damage).not.toBeNull();
  expect(submitted[0]).toBe('submit 0: disk 0 write 0+262144 fua');
  expect(submitted.length).toBeLessThan(12);
  read.close();
});

describe('is refused:', () => {
  it('a trace that is there, which stays as it is; and the image is not made', async () => {
    const at = await place();
    await writeFile(at.trace, 'something');
    const { json, exitCode } = await recordJson(at, ['true'], ['--size', '1MiB']);
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 1, code: 'FILE_EXISTS' });
    expect(await readFile(at.trace, 'utf8')).toBe('something');
    expect(await isThere(at.image)).toBe(false);
  });

  it('an image that is not there, without --size', async () => {
    const at = await place();
    const { json, exitCode } = await recordJson(at, ['true']);
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 10, code: 'FILE_NOT_FOUND' });
    expect(json.error?.hint).toContain('--size');
    expect(await isThere(at.trace)).toBe(false);
  });

  it('a size that the image does not have, or nothing can have', async () => {
    const at = await imageOf(Buffer.alloc(MIB));
    for (const size of ['2MiB', '1000', '0']) {
      const { json, exitCode } = await recordJson(at, ['true'], ['--size', size]);
      expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 2, code: 'USAGE' });
    }
    expect(await isThere(at.trace)).toBe(false);
    expect((await recordJson(at, ['true'], ['--size', '1MiB'])).exitCode).toBe(0);
  });

  it('a program that is not there, and no trace is left', async () => {
    const at = await imageOf(Buffer.alloc(MIB));
    const { json, exitCode } = await recordJson(at, ['no-such-program', 'x']);
    expect({ exitCode, code: json.error?.code }).toEqual({ exitCode: 10, code: 'FILE_NOT_FOUND' });
    expect(await isThere(at.trace)).toBe(false);
  });

  it('an image that somebody else has open', async () => {
    const at = await imageOf(Buffer.alloc(MIB));
    const inner = ['crash', 'record', at.image, '--trace', `${at.trace}.2`, '--', 'true'];
    const words = inner.map((word) => `'${word}'`).join(' ');
    const { exitCode, stderr } = await record(at, [`"$HF_NODE" "$HF_BIN" ${words}`], [], {
      env: { HF_NODE: process.execPath, HF_BIN: BINARY },
    });
    expect(exitCode).toBe(11);
    expect(stderr).toContain(at.image);
    expect(await isThere(`${at.trace}.2`)).toBe(false);
  });

  it.each([
    ['no command', ['disk.img', '--trace', 't', '--']],
    ['an empty one', ['disk.img', '--trace', 't', '--', ' ']],
    ['no trace', ['disk.img', '--', 'true']],
    ['no disk', ['--trace', 't']],
    ['a trace that is the disk', ['t', '--trace', './t', '--', 'true']],
  ])('%s', async (_what, words) => {
    const { folder } = await place();
    const { exitCode, stderr } = await runHoldfast(['crash', 'record', ...words], { cwd: folder });
    expect(exitCode).toBe(2);
    expect(stderr).toContain('Error:');
    expect(await isThere(join(folder, 't'))).toBe(false);
  });

  it('to run within crash inject', async () => {
    const at = await imageOf(Buffer.alloc(MIB));
    const inner = ['crash', 'record', at.image, '--trace', at.trace, '--', 'true'];
    const { exitCode } = await runHoldfast(['crash', 'inject', '--', ...inner]);
    expect(exitCode).toBe(2);
    expect(await isThere(at.trace)).toBe(false);
  });
});
