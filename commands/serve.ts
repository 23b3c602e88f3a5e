/** `holdfast serve`: a volume as a disk for NBD clients, until it is told to stop or the command that it runs ends. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../src/cli/base-command.js';
import { COMMON_EXIT_CODES, EXIT } from '../src/cli/exit-codes.js';
import { countFlag, forceFlag, sizeFlag, volumesArgument } from '../src/cli/flags.js';
import { printText, shareStreams, wantsJson } from '../src/cli/output.js';
import { placeVariables, runChild } from '../src/cli/run-child.js';
import { formatSize } from '../src/cli/sizes.js';
import { VolumeCommand } from '../src/cli/volume-command.js';
import { fileError } from '../src/device/device-errors.js';
import { UserError } from '../src/errors.js';
import { inheritedSockets } from '../src/nbd/server/listeners.js';
import { assertGuarded, DEFAULT_PORT, tcpUri, unixUri } from '../src/volume/serve-places.js';
import type { ServeSecondaryOptions } from '../src/volume/serve-secondary.js';
import type { Serving } from '../src/volume/serving-status.js';

/** Where it listens. */
interface Places {
  readonly uris: readonly string[];
  readonly socket: string | undefined;
  readonly port: number | undefined;
}

export default class Serve extends VolumeCommand<typeof Serve> {
  static override summary = 'Serve a volume as a disk over NBD';
  static override description =
    `qemu, nbdcopy, libnbd, the kernel's client and other holdfasts can use it, many at a time. It runs until SIGTERM or Ctrl-C: then it answers what is in flight, flushes, and leaves the volume clean; a second signal ends it at once, and the volume is recovered when it is opened next. While it runs, "status", "read", "write", "scrub" and "member" act through it.

With --cache writeback a write is answered when it is taken, and durable after a flush (or at once with FUA), as disks with a cache do it; with writethrough each write is durable when it is answered.

The volume is served under the empty name and under --export. Of a volume of the format extents the files are served, each under its own name and the first under the empty one too: then a flush is a commit. Whatever happens, such a disk holds exactly what it held at a commit, and never less than at the last flush that was answered. With TLS nothing is served in plain text but to the user's own commands on this machine.

With --secondary an image is offered as a place for the secondary of a volume that is elsewhere: "replica add VOLUME --to URI" there makes it, and keeps it like the volume. What its primary sends counts as a whole up to each flush, also over a power cut here. Others can read it. An image that is not there is made with --size; "replica promote IMAGE" works while it is served, and "replica add IMAGE" gives it replicas of its own.

--run starts COMMAND in a shell when the server is ready, with $uri in its environment ($exportname, $unixsocket and $port too, as far as they are), and ends with it, with its exit code. Without another place it then listens on a socket of its own. A socket that systemd hands over is used.`;
  static override examples = [
    '<%= config.bin %> serve myvolume --socket /tmp/disk.sock',
    '<%= config.bin %> serve myvolume --run \'nbdcopy "$uri" copy.img\'',
    '<%= config.bin %> serve myvolume --address 127.0.0.1 --port 10809 --read-only',
    '<%= config.bin %> serve second.img --secondary --size 1GiB --socket /tmp/second.sock',
  ];
  static override exitCodes = {
    ...COMMON_EXIT_CODES,
    '0': 'stopped by SIGTERM or Ctrl-C, and all is on disk',
    other: 'with --run: what its command ended with',
  };
  static override args = { volume: volumesArgument };
  static override flags = {
    socket: Flags.string({ helpValue: 'PATH', description: 'listen on a unix socket' }),
    address: Flags.string({
      helpValue: 'HOST',
      description: 'listen on TCP [default with --port: 127.0.0.1]',
    }),
    port: countFlag({ max: 65535, description: `TCP port; 0: any that is free [default: ${DEFAULT_PORT}]` }),
    'allow-remote': Flags.boolean({ description: 'listen without TLS where other machines can reach it' }),
    export: Flags.string({
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'NAME',
      description:
        "name of the export [default: the volume's]; of a volume with files: a file to serve (repeat it) [default: all]",
    }),
    'read-only': Flags.boolean({ description: 'let nobody write' }),
    secondary: Flags.boolean({
      exclusive: ['read-only', 'record', 'force'],
      description: 'offer an image as the secondary of a volume elsewhere; others can read it',
    }),
    size: sizeFlag({
      dependsOn: ['secondary'],
      min: 512,
      description: 'with --secondary: make the image, of this size, if it is not there',
    }),
    cache: Flags.option({
      options: ['writeback', 'writethrough'] as const,
      default: 'writeback' as const,
      description: 'when a write is answered',
    })(),
    'tls-certificates': Flags.string({
      helpValue: 'DIR',
      description: 'speak TLS: server-cert.pem, server-key.pem, ca-cert.pem',
    }),
    'tls-verify-peer': Flags.boolean({
      dependsOn: ['tls-certificates'],
      description: "serve only clients with a certificate of ca-cert.pem's",
    }),
    run: Flags.string({ helpValue: 'COMMAND', description: 'run it with $uri, and end with it' }),
    'pid-file': Flags.string({ helpValue: 'FILE', description: 'write the process number when ready' }),
    force: forceFlag('serve though the volume is dirty and degraded'),
  };

  #isActivated = false;

  protected async execute(): Promise<Outcome> {
    const { flags } = this;
    const isTcp = flags.address !== undefined || flags.port !== undefined;
    // Whoever handed sockets over has the streams for himself, and so has what --run starts.
    this.#isActivated = inheritedSockets(process.env, process.pid) > 0;
    shareStreams();
    const isActivated = this.#isActivated;
    if (flags.run?.trim() === '') throw new UserError('USAGE', '--run: there is no command in it');
    if (flags.socket === undefined && !isTcp && flags.run === undefined && !isActivated) {
      throw new UserError('USAGE', 'where is it to listen?', {
        hint: 'give --socket PATH, or --address and --port, or --run COMMAND',
      });
    }
    assertGuarded(flags, flags['tls-certificates'] !== undefined || flags['allow-remote']);
    const served = await this.#open();
    const own = flags.socket === undefined && !isTcp && !isActivated ? await ownDirectory() : null;
    try {
      const socket = own === null ? flags.socket : join(own, 'socket');
      const places = await this.#listen(served, socket, isTcp);
      return await this.#serve(served, places);
    } finally {
      await served.stop();
      if (own !== null) await rm(own, { recursive: true, force: true });
    }
  }

  async #open(): Promise<Serving> {
    const { readServerCertificates } = await import('../src/nbd/server/certificates.js');
    const { flags } = this;
    const directory = flags['tls-certificates'];
    const tls =
      directory === undefined
        ? undefined
        : await readServerCertificates(directory, flags['tls-verify-peer'] === true);
    const common = {
      exportNames: flags.export ?? [],
      tls,
      onFault: (error: unknown) => this.warnOfFault(error),
      warn: (message: string) => void this.warn(message),
    };
    if (flags.secondary) return this.#openSecondary(common);
    const { ServedVolume } = await import('../src/volume/serve.js');
    return this.sweeping('recover', (sweep) =>
      ServedVolume.open(this.args.volume, {
        ...common,
        access: flags['read-only'] ? 'read' : 'write',
        force: flags.force,
        record: this.recordFile,
        cache: flags.cache,
        sweep,
      }),
    );
  }

  async #openSecondary(common: Omit<ServeSecondaryOptions, 'sizeBytes'>): Promise<Serving> {
    const { cache, size: sizeBytes } = this.flags;
    if (cache === 'writethrough') {
      throw new UserError('USAGE', '--cache writethrough: what a primary writes is durable when it flushes', {
        hint: 'Leave it out; replica add --mode sync has each write durable on both sides.',
      });
    }
    if (sizeBytes !== undefined && sizeBytes % 512 !== 0)
      throw new UserError('USAGE', `--size: ${sizeBytes} bytes are no whole sectors of 512`);
    const { ServedSecondary } = await import('../src/volume/serve-secondary.js');
    return ServedSecondary.open(this.args.volume, { ...common, sizeBytes });
  }

  /** Where it can be reached. */
  async #listen(served: Serving, socket: string | undefined, isTcp: boolean): Promise<Places> {
    const { address = '127.0.0.1', port: asked = DEFAULT_PORT } = this.flags;
    const { server, exportName, isSecure } = served;
    const uris: string[] = [];
    let port: number | undefined;
    if (socket !== undefined) {
      await server.listenUnix(socket);
      uris.push(unixUri(socket, exportName, isSecure));
    }
    if (isTcp) {
      const place = await server.listenTcp({ host: address, port: asked });
      port = place.port;
      uris.push(tcpUri(place.host, port, exportName, isSecure));
    }
    await server.listenInherited();
    return { uris, socket, port };
  }

  async #serve(served: Serving, places: Places): Promise<Outcome> {
    const { uris } = places;
    const pidFile = this.flags['pid-file'];
    const { run } = this.flags;
    const { label } = served;
    if (pidFile !== undefined) await writePidFile(pidFile);
    try {
      const asText = run === undefined && !this.#isActivated && !wantsJson(this.argv);
      if (asText) await printText(`serving ${label} at ${uris.join(' and ')}`);
      const exitCode =
        run === undefined ? await this.#untilStopped() : await this.#runBeside(served, run, places);
      const status = served.status();
      await served.stop();
      const [{ counters }] = status.exports as [(typeof status.exports)[0]];
      return {
        result: { volume: label, uris, ...status },
        exitCode,
        text: () =>
          asText
            ? `stopped: ${formatSize(counters.readBytes)} read, ${formatSize(counters.writtenBytes)} written`
            : '',
      };
    } finally {
      if (pidFile !== undefined) await rm(pidFile, { force: true });
    }
  }

  /** To be stopped is how it ends well. */
  #untilStopped(): Promise<number> {
    return new Promise((resolve) => {
      const stop = () => resolve(EXIT.done);
      if (this.signal.aborted) stop();
      this.signal.addEventListener('abort', stop, { once: true });
    });
  }

  #runBeside(
    { exportName }: Serving,
    command: string,
    { uris: [uri = ''], socket, port }: Places,
  ): Promise<number> {
    const env = placeVariables({ uri, exportName, socket, port });
    return runChild(command, { env, signal: this.signal });
  }
}

async function writePidFile(path: string): Promise<void> {
  try {
    await writeFile(path, `${process.pid}\n`);
  } catch (cause) {
    throw fileError(path, 'written', cause);
  }
}

function ownDirectory(): Promise<string> {
  return mkdtemp(join(tmpdir(), 'holdfast-'));
}
