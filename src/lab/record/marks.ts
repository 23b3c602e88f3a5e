/**
 * The two ways by which a command marks a recording: a unix socket, on which each line is answered, and a pipe, to write
 * to and forget.
 *
 * - A line is a mark in the moment it is read, and whoever wrote it had his answers from the disk before: each of them was
 *   recorded as completed before it was sent (recording.ts). So a mark never comes before what it stands for. It may come
 *   after what its writer did next, unless he waits for `ok`.
 * - Who writes marks faster than the trace takes them waits, in the system's buffers.
 * - A line without an end is none: its writer may have been killed amid it.
 */
import { execFile } from 'node:child_process';
import { constants, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { createServer, type Server, Socket } from 'node:net';
import { join } from 'node:path';
import { setImmediate as turn, setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { MarkLines } from './mark-lines.js';
import type { Recording } from './recording.js';

/** What was written lies in the system's buffers: in so many turns of the event loop connections and bytes have been seen. */
const QUIET_TURNS = 4;
/** Somebody whom the command has left behind may go on for ever. */
const DRAIN_LIMIT_MS = 10_000;

export class Marks {
  /** Lines of the pipe that were no marks. */
  refused = 0;
  readonly #recording: Recording;
  readonly #socket: string;
  readonly #server: Server;
  readonly #connections = new Set<Socket>();
  readonly #pipeLines = new MarkLines();
  #pipe: { readonly writer: FileHandle; readonly reader: Socket } | null = null;
  /** Whatever came in. */
  #seen = 0;
  /** Readers that wait for the trace. */
  #waiting = 0;

  private constructor(recording: Recording, directory: string) {
    this.#recording = recording;
    this.#socket = join(directory, 'marks');
    // Who has said all that he has to say is still answered.
    this.#server = createServer({ allowHalfOpen: true }, (connection) => this.#connected(connection));
  }

  /** Both are in `directory`, which is nobody else's. */
  static async open(recording: Recording, directory: string): Promise<Marks> {
    const marks = new Marks(recording, directory);
    try {
      await new Promise<void>((resolve, reject) => {
        marks.#server.once('error', reject);
        marks.#server.listen(marks.#socket, resolve);
      });
      await marks.#openPipe(join(directory, 'marks.pipe'));
      return marks;
    } catch (error) {
      await marks.close();
      throw error;
    }
  }

  /** Its path. */
  get socket(): string {
    return this.#socket;
  }

  /** The end to write to: for the command, and open as long as this is. */
  get descriptor(): number {
    return this.#pipe!.writer.fd;
  }

  /** Returns when what had been written was read and recorded. */
  async drain(): Promise<void> {
    const until = performance.now() + DRAIN_LIMIT_MS;
    for (let quiet = 0; quiet < QUIET_TURNS && performance.now() < until; ) {
      const before = this.#seen;
      await (this.#waiting > 0 ? wait(1) : turn());
      quiet = this.#seen === before && this.#waiting === 0 ? quiet + 1 : 0;
    }
    if (this.#pipeLines.isAmid) this.refused += 1;
  }

  async close(): Promise<void> {
    for (const connection of this.#connections) connection.destroy();
    this.#server.close();
    this.#pipe?.reader.destroy();
    await this.#pipe?.writer.close();
  }

  /** A named one: that of Node is a socket, which nobody can open by its name below /dev/fd. */
  async #openPipe(path: string): Promise<void> {
    await promisify(execFile)('mkfifo', ['-m', '600', path]);
    const { O_RDONLY, O_NONBLOCK } = constants;
    // It waits for nobody, and the descriptor is the stream's to close.
    const reader = new Socket({ fd: openSync(path, O_RDONLY | O_NONBLOCK), readable: true, writable: false });
    const writer = await open(path, 'w');
    this.#pipe = { writer, reader };
    reader.on('error', () => undefined);
    this.#read(reader, this.#pipeLines, () => {
      this.refused += 1;
    });
  }

  #connected(connection: Socket): void {
    this.#seen += 1;
    this.#connections.add(connection);
    connection.on('close', () => this.#connections.delete(connection));
    // A client that went away wants no answer.
    connection.on('error', () => undefined);
    connection.on('end', () => connection.end());
    this.#read(
      connection,
      new MarkLines(),
      (why) => connection.write(`refused: ${why}\n`),
      () => connection.write('ok\n'),
    );
  }

  #read(
    stream: Socket,
    lines: MarkLines,
    refuse: (why: string) => void,
    accept: () => void = () => undefined,
  ): void {
    stream.on('data', (bytes: Buffer) => {
      this.#seen += 1;
      for (const line of lines.take(bytes)) {
        if (line.kind === 'refused') refuse(line.why);
        else if (this.#recording.mark(line.name)) accept();
        else refuse('the recording has ended');
      }
      stream.pause();
      void this.#caughtUp(stream).then(() => stream.resume());
    });
  }

  async #caughtUp(stream: Socket): Promise<void> {
    this.#waiting += 1;
    await this.#recording.ready();
    this.#waiting -= 1;
    // Who does not read his answers is not listened to.
    if (stream.writableNeedDrain) await new Promise((resolve) => stream.once('drain', resolve));
  }
}
