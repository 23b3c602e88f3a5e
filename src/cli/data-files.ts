/**
 * Files of the user's that data is read from and written to (`--input`, `--output`); `-` is a standard
 * stream. What goes wrong with them is the user's to act on, so every failure names the file.
 */
import { createReadStream, fstatSync } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { addAbortSignal, type Readable } from 'node:stream';
import { fileError } from '../device/device-errors.js';
import { UserError } from '../errors.js';

const PIECE_BYTES = 1024 * 1024;

export interface InputData {
  readonly pieces: AsyncIterable<Uint8Array>;
  /** undefined where it cannot be known before its end (a pipe). */
  readonly totalBytes: number | undefined;
}

/** Where data comes from that no flag names. @throws UserError USAGE at a terminal. */
export function standardInput(): '-' {
  if (process.stdin.isTTY !== true) return '-';
  throw new UserError('USAGE', 'there is nothing to write', { hint: 'name a file: --input FILE' });
}

/** Where data goes that no flag names. @throws UserError USAGE at a terminal. */
export function standardOutput(): '-' {
  if (process.stdout.isTTY !== true) return '-';
  throw new UserError('USAGE', 'data would go to the terminal', { hint: 'name a file: --output FILE' });
}

/** @throws UserError USAGE if it is one of `images`, by whatever name: it would be read while it is being written. */
export async function refuseOwnImages(
  path: string,
  images: readonly string[],
  what = 'the input',
): Promise<void> {
  const source = path === '-' ? fstatSync(0) : await stat(path).catch(() => null);
  for (const image of images) {
    const own = await stat(image).catch(() => null);
    if (source === null || own === null || source.dev !== own.dev || source.ino !== own.ino) continue;
    throw new UserError(
      'USAGE',
      `${path === '-' ? 'standard input' : path} is an image of the volume itself (${image}): it cannot be ${what}`,
    );
  }
}

/** @throws UserError if it cannot be opened; `pieces` throws one if it cannot be read on. */
export async function openInput(path: string, signal: AbortSignal): Promise<InputData> {
  if (path === '-')
    return { pieces: piecesOf('standard input', process.stdin, signal), totalBytes: undefined };
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    const kind = await file.stat();
    if (kind.isDirectory()) throw new UserError('USAGE', `${path} is a directory: --input wants a file`);
    const stream = createReadStream(path, { fd: file, highWaterMark: PIECE_BYTES });
    return { pieces: piecesOf(path, stream, signal), totalBytes: kind.isFile() ? kind.size : undefined };
  } catch (error) {
    await file?.close();
    throw fileError(path, 'read', error);
  }
}

async function* piecesOf(name: string, stream: Readable, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    // A pipe that nobody writes to would else keep a Ctrl-C waiting for ever.
    for await (const piece of addAbortSignal(signal, stream)) yield piece as Uint8Array;
  } catch (error) {
    throw fileError(name, 'read', error);
  } finally {
    stream.destroy();
  }
}

/** A file that data is written to, from its beginning. */
export class OutputFile {
  #at = 0;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    /** Whether what is left out reads as zeroes: of regular files. */
    readonly canSkip: boolean,
  ) {}

  /**
   * What the file held is gone once this returns.
   * @throws UserError REFUSED if it is one of `images`: it would be emptied before it is read.
   */
  static async create(path: string, images: readonly string[]): Promise<OutputFile> {
    for (const image of images) {
      if (await isSameFile(path, image)) {
        throw new UserError('REFUSED', `${path} is an image of the volume itself: it cannot be the output`);
      }
    }
    try {
      const file = await open(path, 'w');
      return new OutputFile(path, file, (await file.stat()).isFile());
    } catch (error) {
      throw fileError(path, 'written', error);
    }
  }

  async write(data: Uint8Array): Promise<void> {
    try {
      for (let done = 0; done < data.length; ) {
        const { bytesWritten } = await this.file.write(
          data,
          done,
          data.length - done,
          this.canSkip ? this.#at : null,
        );
        done += bytesWritten;
        this.#at += bytesWritten;
      }
    } catch (error) {
      throw fileError(this.path, 'written', error);
    }
  }

  /** Leaves a hole of so many bytes, where that can be. */
  async skip(bytes: number): Promise<void> {
    this.#at += bytes;
    try {
      await this.file.truncate(this.#at);
    } catch (error) {
      throw fileError(this.path, 'written', error);
    }
  }

  async close(): Promise<void> {
    try {
      await this.file.close();
    } catch (error) {
      throw fileError(this.path, 'written', error);
    }
  }
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([stat(a).catch(() => null), stat(b).catch(() => null)]);
  return first !== null && second !== null && first.dev === second.dev && first.ino === second.ino;
}
