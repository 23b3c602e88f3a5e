/**
 * Opening the files of a volume, against its size: how long it takes, what is read, and how much memory a process has
 * at most that does nothing else. Volumes are sparse; each holds one file that is written.
 *
 * The memory is asked of the kernel when the process ends (proc(5): VmHWM, of this program alone; what getrusage says
 * goes back to before the program was loaded, when the process was a copy of its parent).
 */
import { type ExecFileException, execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packagePath } from '../package-root.js';
import type { Comparison, Contender, Sample } from './bench.js';
import { type BenchVolume, makeVolume, openBenchFile, openCounted } from './extents-volume.js';

const execute = promisify(execFile);

export interface OpeningSizes {
  /** As they are called. */
  readonly volumes: ReadonlyMap<string, number>;
  readonly fileBytes: number;
  /** Whether the command is run too. */
  readonly command: boolean;
}

export const OPENING_NOTES = [
  'Opening: for reading, for writing, each with closing; read counts what they read of both images.',
  'command: `holdfast file list` in a process of its own, and its peak memory. no volume: `holdfast --version`. Goal for 1 TiB: 1 s, and 200 MiB more.',
];

export async function* openingComparisons(
  directory: string,
  { volumes, fileBytes, command }: OpeningSizes,
): AsyncIterable<Comparison> {
  for (const [label, sizeBytes] of volumes) {
    const volume = await makeVolume(join(directory, `open-${label.replace(' ', '-')}`), sizeBytes, {
      members: 1,
    });
    await (await openBenchFile(volume, fileBytes)).close();
    const commands = [
      commandOf('no volume', ['--version']),
      commandOf('command', ['file', 'list', volume.path, '--json']),
    ];
    yield {
      title: `opening the files of ${label}`,
      roundBytes: fileBytes,
      operations: 1,
      baseline: null,
      contenders: [opening(volume, 'read'), opening(volume, 'write'), ...(command ? commands : [])],
    };
  }
}

function opening(made: BenchVolume, access: 'read' | 'write'): Contender {
  return {
    name: access === 'read' ? 'for reading' : 'for writing',
    run: async () => {
      const start = performance.now();
      const { volume, tally } = await openCounted(made, access);
      await volume.close();
      const seconds = (performance.now() - start) / 1000;
      const [data, metadata] = [tally.data.take(), tally.metadata.take()];
      return {
        seconds,
        counts: {
          readBytes: data.readBytes!,
          metadataReadBytes: metadata.readBytes!,
          writtenBytes: data.writtenBytes!,
          metadataWrittenBytes: metadata.writtenBytes!,
        },
      };
    },
  };
}

/** Says on its last line how much memory the process had at most, in KiB, whatever else it says. */
const TELL_PEAK = `import { readFileSync, writeSync } from 'node:fs';
process.on('exit', () => writeSync(2, /VmHWM:.*kB/.exec(readFileSync('/proc/self/status', 'utf8'))[0]));`;

/** A command in a process of its own; `exitCodes`: those it may end with. */
export function commandOf(
  name: string,
  command: readonly string[],
  exitCodes: readonly number[] = [0],
): Contender {
  const hook = `data:text/javascript,${encodeURIComponent(TELL_PEAK)}`;
  const arguments_ = ['--import', hook, packagePath('bin', 'run.js'), ...command];
  return {
    name,
    run: async (): Promise<Sample> => {
      const start = performance.now();
      const { stderr } = await execute(process.execPath, arguments_).catch((error: ExecFileException) => {
        if (!exitCodes.includes(Number(error.code))) throw error;
        return { stderr: error.stderr ?? '' };
      });
      const seconds = (performance.now() - start) / 1000;
      const peak = /VmHWM:\s+(\d+) kB$/.exec(stderr);
      if (peak === null) throw new Error(`holdfast ${command.join(' ')} did not say its memory: ${stderr}`);
      return { seconds, counts: { peakBytes: 1024 * Number(peak[1]) } };
    },
  };
}
