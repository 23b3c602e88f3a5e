/** A toy server, the device that it loses when it dies, and clients of it: gone when the test has ended. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished } from 'vitest';
import type { BlockDevice } from '../../../src/device/contract.js';
import { SparseMemory } from '../../../src/device/sparse-memory.js';
import { NbdDevice, type NbdDeviceOptions } from '../../../src/nbd/client/nbd-device.js';
import { type CutMode, VolatileDevice } from '../../support/devices/volatile-device.js';
import { type ToyOptions, ToyServer } from './toy-server.js';

export const TOY_SIZE = 1024 * 1024;

/** Looks for a lost server as often as it takes, without a pause to speak of. */
export const PATIENT = { reconnect: { tries: 100_000, withinMs: 50_000, pauseMs: 1 } };

export class ToyPlace {
  store: VolatileDevice;
  server!: ToyServer;
  readonly #servers: ToyServer[] = [];
  readonly #clients: NbdDevice[] = [];

  private constructor(
    private readonly folder: string,
    private readonly maxDelayTurns: number,
  ) {
    this.store = new VolatileDevice(TOY_SIZE, { maxDelayTurns });
  }

  /** `maxDelayTurns`: requests end late and out of order. */
  static async make(maxDelayTurns = 0): Promise<ToyPlace> {
    const place = new ToyPlace(await mkdtemp(join(tmpdir(), 'holdfast-nbd-')), maxDelayTurns);
    onTestFinished(() => place.remove());
    return place;
  }

  static async serving(options: ToyOptions = {}): Promise<ToyPlace> {
    const place = await ToyPlace.make();
    await place.serve(options);
    return place;
  }

  get socket(): string {
    return join(this.folder, 'socket');
  }

  get uri(): string {
    return `nbd+unix:///disk?socket=${this.socket}`;
  }

  async serve(options: ToyOptions = {}, device: BlockDevice = this.store): Promise<ToyServer> {
    this.server = await ToyServer.listen(this.socket, device, options);
    this.#servers.push(this.server);
    return this.server;
  }

  async open(options: Partial<NbdDeviceOptions> = {}): Promise<NbdDevice> {
    const client = await NbdDevice.open(this.uri, { readOnly: false, ...PATIENT, ...options });
    this.#clients.push(client);
    return client;
  }

  /** The server dies, and with it what the cut does not keep: what is left is what the next one serves. */
  async crash(mode: CutMode = 'none', seed = 1): Promise<void> {
    await this.server.die();
    const left = await this.store.cutPower(seed, mode);
    const bytes = new Uint8Array(TOY_SIZE);
    await left.read(0, bytes);
    const memory = new SparseMemory(512);
    memory.write(0, TOY_SIZE, bytes);
    this.store = new VolatileDevice(TOY_SIZE, { maxDelayTurns: this.maxDelayTurns, seed }, memory);
  }

  /** What would be left of the device if its power went now. */
  async durable(): Promise<Uint8Array> {
    await this.crash('none');
    const bytes = new Uint8Array(TOY_SIZE);
    await this.store.read(0, bytes);
    return bytes;
  }

  async remove(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.close()));
    for (const server of this.#servers) await server.die();
    await rm(this.folder, { recursive: true });
    expect(this.#servers.flatMap((server) => server.faults)).toEqual([]);
  }
}
