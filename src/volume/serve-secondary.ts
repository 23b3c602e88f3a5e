/**
 * An image that is served as a place for the secondary of a volume somewhere else: its primary makes it and writes it
 * (replication/secondary/host.ts); all others read it. Commands of this machine reach it as they reach a served volume: they
 * may look at it, read it, promote it, and give it replicas of its own.
 */
import { UserError } from '../errors.js';
import type { Export } from '../nbd/server/export.js';
import { NbdServer } from '../nbd/server/server.js';
import { ControlServer, type OperationReporting } from './control/control-server.js';
import type { ControlRequest } from './control/messages.js';
import { defaultName } from './locate.js';
import { absoluteImage, isRemote } from './remote.js';
import { PROMOTE, promoteSchema } from './replication/generations/promote.js';
import { isReplicaOperation } from './replication/operations.js';
import { SecondaryHost } from './replication/secondary/host.js';
import { SECONDARY_OPTION } from './replication/secondary/messages.js';
import { placeExtension } from './replication/secondary/requests.js';
import type { ServeOptions } from './serve.js';
import { SERVING_STATUS, type Serving, type ServingStatus } from './serving-status.js';
import { closeInOrder } from './stack.js';

export interface ServeSecondaryOptions
  extends Pick<ServeOptions, 'exportNames' | 'tls' | 'onFault' | 'warn'> {
  /** Of an image that is not there yet. */
  readonly sizeBytes: number | undefined;
}

export class ServedSecondary implements Serving {
  readonly exportName: string;
  readonly server: NbdServer;
  #control: ControlServer | null = null;
  readonly #startedMs = performance.now();
  #stopped: Promise<void> | null = null;

  private constructor(
    readonly label: string,
    private readonly host: SecondaryHost,
    private readonly options: ServeSecondaryOptions,
  ) {
    const { exportNames, tls, onFault } = options;
    const [name = defaultName(label)] = exportNames;
    const shown: Export = { name, description: `${label}, a secondary`, device: host.view, readOnly: true };
    const extensions = new Map([[SECONDARY_OPTION, placeExtension(host, { name })]]);
    this.exportName = name;
    this.server = new NbdServer({
      exports: [{ ...shown, extensions }],
      onFault,
      ...(tls === undefined ? {} : { tls }),
    });
  }

  /** @throws UserError UNSUPPORTED for what is no single image here; what SecondaryHost.open throws. */
  static async open(names: readonly string[], options: ServeSecondaryOptions): Promise<ServedSecondary> {
    const [name, ...others] = names;
    if (name === undefined || others.length > 0 || isRemote(name)) {
      throw new UserError('UNSUPPORTED', 'a secondary is one image file, here', {
        hint: 'holdfast serve IMAGE --secondary',
      });
    }
    if (options.exportNames.length > 1)
      throw new UserError('USAGE', `${name} is one disk: it has one --export`);
    const image = absoluteImage(name);
    const host = await SecondaryHost.open(image, options.sizeBytes, options);
    const served = new ServedSecondary(name, host, options);
    try {
      served.#control = await ControlServer.open(`${image}.holdfast`, {
        // A promote ends what is being done to replicas of its own, and does not wait for it.
        isLook: (operation) => [SERVING_STATUS, 'format', PROMOTE].includes(operation),
        operate: (request, reporting) => served.#operate(request, reporting),
        onData: (socket) => served.server.serveLocal(socket),
      });
      return served;
    } catch (error) {
      await served.stop();
      throw error;
    }
  }

  get isSecure(): boolean {
    return this.options.tls !== undefined;
  }

  status(): ServingStatus {
    return {
      ...this.server.status(),
      pid: process.pid,
      seconds: Math.round(performance.now() - this.#startedMs) / 1000,
      cacheMode: 'writeback',
      ...{
        cache: null,
        recordWrites: null,
        replicas: this.host.replicas(),
        volumeName: '',
        snapshots: [],
        inDoubt: [],
      },
      secondary: this.host.status(),
    };
  }

  /** Stopping twice is allowed. */
  stop(): Promise<void> {
    this.#stopped ??= closeInOrder([
      () => this.server.stop(),
      async () => this.host.stopOperations(),
      async () => this.#control?.close(),
      () => this.host.close(),
    ]);
    return this.#stopped;
  }

  async #operate(
    { operation, arguments: args }: ControlRequest,
    reporting: OperationReporting,
  ): Promise<unknown> {
    if (operation === SERVING_STATUS) return this.status();
    if (operation === 'format') return { format: 'raw' };
    if (operation === PROMOTE) return this.host.promote(promoteSchema.parse(args));
    if (isReplicaOperation(operation)) return this.host.operate(operation, args, reporting);
    throw new UserError(
      'REFUSED',
      `${this.label} is served as the secondary of a volume: ${operation} is its primary's`,
      {
        hint: 'Do it to the primary. holdfast replica promote makes this one a volume of its own.',
        details: { image: this.label },
      },
    );
  }
}
