/**
 * What a command finds of a state: its devices as NBD exports and as files, and the marks that were set before the cut. One stage has one
 * state at a time; several commands run on as many stages.
 *
 * The exports and the files hold the same and are apart: what is written to one is not seen in the other, nor in any other state.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { versionOn } from '../../crash/file-versions.js';
import type { StateDevice } from '../../crash/state-device.js';
import type { Mark } from '../../crash/trace.js';
import type { StoredDevice } from '../../crash/trace-file/trace-reader.js';
import type { BlockDevice } from '../../device/contract.js';
import { fileError } from '../../device/device-errors.js';
import { NbdServer } from '../../nbd/server/server.js';
import { unixUri } from '../../volume/serve-places.js';
import { putVersion } from './put-version.js';
import { type CommandRun, runCommand } from './run-command.js';
import { StateImage } from './state-image.js';

export interface StageOptions {
  /** Of the trace. Those that are files which are replaced as a whole are files here too, and no exports. */
  readonly devices: readonly StoredDevice[];
  /** It is made, and is this stage's alone. */
  readonly directory: string;
  readonly limitMs: number;
  readonly signal: AbortSignal;
  /** For what is thrown and is a fault of ours. */
  readonly onFault: (error: unknown) => void;
}

export interface StagedRun extends CommandRun {
  /** The command wrote to what it was given. */
  readonly hasWritten: boolean;
}

export class Stage {
  readonly #images: StateImage[] = [];

  private constructor(private readonly options: StageOptions) {}

  static async make(options: StageOptions): Promise<Stage> {
    await mkdir(options.directory).catch((error: unknown) => {
      throw fileError(options.directory, 'made', error);
    });
    return new Stage(options);
  }

  /** Runs it on the devices, which are the command's from now on. */
  async check(
    command: string,
    devices: readonly (StateDevice | null)[],
    marks: readonly Mark[],
  ): Promise<StagedRun> {
    const files: string[] = [];
    const lists = devices.flatMap((device, at) => this.#listOf(device, at));
    const images = devices.map((device, at) =>
      device === null || this.#isList(at) ? null : this.#imageOf(device, at),
    );
    for (const [at, image] of images.entries()) {
      if (image === null) continue;
      await image.show(devices[at]!);
      files.push(image.path);
    }
    const paths = { image: files[0] ?? '', images: files.join(' '), lists: lists.join(' ') };
    const env = { ...paths, ...(await this.#marks(marks)) };
    const run = await this.#served(devices, (uris) => this.#run(command, { ...env, ...uris }));
    let hasWritten = devices.some((device) => device !== null && device.writes > 0);
    for (const [at, image] of images.entries())
      if (image !== null && (await image.wasWritten(devices[at]!))) hasWritten = true;
    return { ...run, hasWritten };
  }

  /** Runs it on exports of these, which may be recorded; nobody has files of them. */
  async recover(command: string, devices: readonly (BlockDevice | null)[]): Promise<CommandRun> {
    return this.#served(devices, (uris) => this.#run(command, uris));
  }

  #run(command: string, env: Readonly<Record<string, string>>): Promise<CommandRun> {
    const { directory, limitMs, signal } = this.options;
    return runCommand(command, { env: { ...env, directory }, limitMs, signal });
  }

  #imageOf(device: StateDevice, at: number): StateImage {
    const known = this.#images[at];
    if (known !== undefined) return known;
    const image = new StateImage(this.#pathOf(device, at));
    this.#images[at] = image;
    return image;
  }

  /** Devices may have the same name in different folders. */
  #pathOf({ name }: StateDevice, at: number): string {
    return join(this.options.directory, `${at}-${basename(name)}`);
  }

  #isList(at: number): boolean {
    return this.options.devices[at]!.versions !== undefined;
  }

  /** Its path, where it is one and is there. */
  #listOf(device: StateDevice | null, at: number): string[] {
    const { versions } = this.options.devices[at]!;
    if (device === null || versions === undefined) return [];
    const path = this.#pathOf(device, at);
    return putVersion(path, versionOn(device, versions)) ? [path] : [];
  }

  async #marks(marks: readonly Mark[]): Promise<Record<string, string>> {
    const path = join(this.options.directory, 'marks');
    await writeFile(path, marks.map(({ name }) => `${name}\n`).join('')).catch((error: unknown) => {
      throw fileError(path, 'written', error);
    });
    return { marks: path, mark: marks.at(-1)?.name ?? '' };
  }

  async #served(
    devices: readonly (BlockDevice | null)[],
    body: (env: Readonly<Record<string, string>>) => Promise<CommandRun>,
  ): Promise<CommandRun> {
    const socket = join(this.options.directory, 'nbd');
    const exports = devices.flatMap((device, at) =>
      device === null || this.#isList(at) ? [] : [{ name: `${at}`, device }],
    );
    const server = new NbdServer({ exports, onFault: this.options.onFault });
    try {
      await server.listenUnix(socket);
      const uris = exports.map(({ name }) => unixUri(socket, name, false));
      return await body({ uri: uris[0] ?? '', uris: uris.join(' '), unixsocket: socket });
    } finally {
      await server.stopNow();
      await rm(socket, { force: true });
    }
  }
}
