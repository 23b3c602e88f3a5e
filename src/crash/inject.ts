/**
 * Runs a piece of work on images whose power goes at one of its writes, one of its flushes, or an event that a seed
 * chooses, and leaves the images as the cut leaves them (power-cut.ts).
 *
 * - At a write or a flush the power goes while the work runs: right after that call was submitted, and before any of
 *   it is done. What is in flight then never completes, for the work; on the images it is waited for, because
 *   what it left there is unknown until it has ended.
 * - By seed alone the event is chosen when the work has ended, among all that there were, and the images are taken
 *   back to it. So each event is as likely as any other.
 * - What was recorded is bounded. Over the bound a random cut comes at an event so far, and one that was asked for
 *   does not come: the work then runs to its end.
 */
import { InjectedImages } from './injected-images.js';
import { cutPower, isWrite, putBack } from './power-cut.js';
import { PROFILES, type ProfileName } from './profiles.js';
import { Recorder } from './recorder.js';
import { SeededRandom } from './seeded-random.js';
import type { CutKind } from './survivors.js';
import type { TraceEvent } from './trace.js';

const LIMIT_BYTES = 256 * 1024 * 1024;

/** Writes (zeroes and trims are some) and flushes are counted from 1 over all images. */
export type CutPoint =
  | { readonly at: 'write' | 'flush'; readonly number: number }
  | { readonly at: 'random' };

export interface InjectOptions {
  readonly point: CutPoint;
  readonly seed: number;
  readonly profile: ProfileName;
  /** Bytes of memory for what is recorded; 256 MiB unless said otherwise. */
  readonly limitBytes?: number;
}

export interface CutReport {
  /** Events of the work that happened before the cut. */
  readonly cutAtEvent: number;
  /** Submitted before the cut. */
  readonly writes: number;
  readonly flushes: number;
  readonly volatileWrites: number;
  /** Of those, the ones that are there, or a part of them. */
  readonly keptWrites: number;
  readonly kind: CutKind;
  readonly images: readonly { image: string; volatileWrites: number; keptWrites: number }[];
}

export type Injected<T> =
  | { readonly outcome: 'cut'; readonly report: CutReport }
  /** The work ended and the power did not go; it asked for so many writes and flushes. */
  | {
      readonly outcome: 'ended';
      readonly value: T;
      readonly writes: number;
      readonly flushes: number;
      /** The event may have come: by then, more had been recorded than there is room for. */
      readonly overLimit: boolean;
    };

/**
 * Runs `work`, which opens its images through openImage. After a cut it never ends, and what it holds is lost.
 * @throws what `work` throws, if it does so before the cut; DeviceError if the images could not be written.
 */
export async function injectPowerCut<T>(
  work: () => Promise<T>,
  options: InjectOptions,
): Promise<Injected<T>> {
  return new Injection(options).run(work);
}

class Injection {
  readonly #options: InjectOptions;
  readonly #recorder: Recorder;
  readonly #images: InjectedImages;
  readonly #cut: Promise<'cut'>;
  #tellCut: () => void = () => undefined;
  #writes = 0;
  #flushes = 0;
  #overLimit = false;

  constructor(options: InjectOptions) {
    this.#options = options;
    this.#recorder = new Recorder({
      keepBase: true,
      inOrder: true,
      onEvent: (event) => this.#happened(event),
    });
    this.#images = new InjectedImages(this.#recorder);
    this.#cut = new Promise((resolve) => {
      this.#tellCut = () => resolve('cut');
    });
  }

  async run<T>(work: () => Promise<T>): Promise<Injected<T>> {
    const uninstall = this.#images.install();
    try {
      const working = work().then((value) => ({ value }));
      const ended = await Promise.race([this.#cut, working]);
      // Whatever becomes of the work without power is nothing that anybody hears of.
      if (ended === 'cut') return { outcome: 'cut', report: await this.#leave() };
      const isRandom = this.#options.point.at === 'random';
      if (isRandom && this.#recorder.trace.events.length > 0) {
        return { outcome: 'cut', report: await this.#leave() };
      }
      const counts = { writes: this.#writes, flushes: this.#flushes };
      return { outcome: 'ended', ...ended, ...counts, overLimit: this.#overLimit };
    } finally {
      uninstall();
      await this.#images.close();
    }
  }

  #happened(event: TraceEvent): void {
    if (event.kind === 'submit') {
      if (isWrite(event.operation)) this.#writes += 1;
      else this.#flushes += 1;
    }
    const { point, limitBytes = LIMIT_BYTES } = this.#options;
    if (!this.#overLimit && this.#isWanted(event, point)) this.#powerOff();
    else if (!this.#overLimit && this.#recorder.heldBytes > limitBytes) {
      this.#overLimit = true;
      if (point.at === 'random') this.#powerOff();
      else this.#recorder.forget();
    }
  }

  #isWanted(event: TraceEvent, point: CutPoint): boolean {
    if (event.kind !== 'submit' || point.at === 'random') return false;
    const [kind, count] = isWrite(event.operation) ? ['write', this.#writes] : ['flush', this.#flushes];
    return kind === point.at && count === point.number;
  }

  #powerOff(): void {
    void this.#recorder.halt();
    this.#tellCut();
  }

  /** Writes onto the images what the cut leaves; it is durable when this returns. */
  async #leave(): Promise<CutReport> {
    await this.#recorder.halt();
    const { trace } = this.#recorder;
    const random = new SeededRandom(this.#options.seed);
    const [chooseEvent, chooseLoss] = [random.fork(), random.fork()];
    const { length } = trace.events;
    const atEvent = this.#options.point.at === 'random' ? chooseEvent.between(1, length) : length;
    const profile = PROFILES[this.#options.profile];
    const { kind, devices } = cutPower(trace, { atEvent, profile, seed: chooseLoss.seed });
    const images = await this.#images.open();
    for (const [index, left] of devices.entries()) {
      const image = images[index]!;
      await putBack(image, left, this.#recorder.base(index)!);
      await image.flush();
    }
    const counted = devices.map(({ volatileWrites, keptWrites }, index) => ({
      image: images[index]!.name,
      volatileWrites,
      keptWrites,
    }));
    return {
      cutAtEvent: atEvent,
      ...submitted(trace.events.slice(0, atEvent)),
      volatileWrites: sum(counted.map(({ volatileWrites }) => volatileWrites)),
      keptWrites: sum(counted.map(({ keptWrites }) => keptWrites)),
      kind,
      images: counted,
    };
  }
}

function submitted(events: readonly TraceEvent[]): { writes: number; flushes: number } {
  const operations = events.flatMap((event) => (event.kind === 'submit' ? [event.operation] : []));
  const writes = operations.filter(isWrite).length;
  return { writes, flushes: operations.length - writes };
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}
