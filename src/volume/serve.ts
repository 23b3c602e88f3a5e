/**
 * A volume that is served over NBD: opened once, to be a disk for any number of clients, and to be acted on by the
 * other commands while it is (control/).
 *
 * Order of its end: no new connections; requests in flight are answered; operations stop at a safe point; the
 * device is flushed; the volume is closed, which makes it clean. What is left after a second signal, or a cut, is for
 * recovery: nothing here is needed for that.
 */
import type { CacheMode } from '../nbd/server/export.js';
import { NbdServer } from '../nbd/server/server.js';
import type { TlsPolicy } from '../nbd/server/wire-pair.js';
import { asPlaces, bytesInDoubt } from '../raid/doubt.js';
import { ControlServer, type OperationReporting } from './control/control-server.js';
import type { ControlRequest } from './control/messages.js';
import { controlDirectories } from './control/places.js';
import type { OpenVolumeOptions, Volume } from './model.js';
import { isOperation, OPERATIONS, runRequested } from './operations.js';
import { absoluteImage } from './remote.js';
import { type DiskOptions, ServedDisks } from './served-disks.js';
import { SERVING_STATUS, type Serving, type ServingStatus } from './serving-status.js';
import { snapshotsOpen } from './snapshots/status.js';
import { cacheOf, closeInOrder } from './stack.js';
import { openVolume } from './volume.js';

export interface ServeOptions extends OpenVolumeOptions {
  /** How clients ask for it; of a volume that holds files, which of them are served (served-disks.ts). */
  readonly exportNames: readonly string[];
  readonly cache: CacheMode;
  readonly tls?: TlsPolicy | undefined;
  readonly over?: DiskOptions['over'];
  /** What is thrown and is a fault of ours. */
  readonly onFault: (error: unknown) => void;
}

export class ServedVolume implements Serving {
  readonly label: string;
  readonly server: NbdServer;
  readonly exportName: string;
  readonly isSecure: boolean;
  readonly #startedMs = performance.now();
  #control: ControlServer | null = null;
  #stopped: Promise<void> | null = null;

  private constructor(
    readonly volume: Volume,
    private readonly options: ServeOptions,
    private readonly disks: ServedDisks,
  ) {
    const { tls, onFault } = options;
    this.label = volume.label;
    this.exportName = disks.exports[0]!.name;
    this.isSecure = tls !== undefined;
    this.server = new NbdServer({ ...disks, onFault, ...(tls === undefined ? {} : { tls }) });
  }

  /** Opens the volume. @throws what openVolume throws; IN_USE where another server has its sockets. */
  static async open(names: readonly string[], options: ServeOptions): Promise<ServedVolume> {
    // Who asks it later may be in another directory than it was started in.
    const volume = await openVolume(names.map(absoluteImage), options);
    let served: ServedVolume;
    try {
      served = new ServedVolume(volume, options, await ServedDisks.open(volume, options));
    } catch (error) {
      await volume.close();
      throw error;
    }
    try {
      served.disks.addSnapshots(served.server);
      if (options.access === 'write') await served.#openControl();
      return served;
    } catch (error) {
      await served.stop();
      throw error;
    }
  }

  status(): ServingStatus {
    const { array, device, tracking, snapshots } = this.volume;
    return {
      ...this.server.status(),
      pid: process.pid,
      seconds: Math.round(performance.now() - this.#startedMs) / 1000,
      cacheMode: this.options.cache,
      cache: cacheOf(device)?.statistics ?? null,
      recordWrites: array?.recordWrites ?? null,
      replicas: tracking.replicas?.list() ?? null,
      volumeName: this.disks.volumeName,
      snapshots: snapshotsOpen(snapshots.known?.list() ?? []),
      inDoubt: array === null ? [] : asPlaces(bytesInDoubt(array.core)),
      secondary: null,
    };
  }

  stop(): Promise<void> {
    this.#stopped ??= closeInOrder([
      () => this.server.stop(),
      async () => this.#control?.close(),
      () => this.disks.close(),
      () => this.volume.close(),
    ]);
    return this.#stopped;
  }

  async #openControl(): Promise<void> {
    const [place] = controlDirectories(this.volume.located);
    // A volume that lies behind another server has no place here.
    if (place === undefined) return;
    this.disks.follow(this.server);
    this.#control = await ControlServer.open(place, {
      isLook: (name) => name === SERVING_STATUS || (isOperation(name) && OPERATIONS[name].access === 'read'),
      operate: (request, reporting) => this.#operate(request, reporting),
      onData: (socket) => this.server.serveLocal(socket),
    });
  }

  async #operate(request: ControlRequest, reporting: OperationReporting): Promise<unknown> {
    if (request.operation === SERVING_STATUS) return this.status();
    return runRequested(this.volume, request.operation, request.arguments, reporting);
  }
}
