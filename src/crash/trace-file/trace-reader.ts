/**
 * Reads a trace's file back. What is whole is used: where a frame or an item makes no sense the trace ends, and says why. What was written
 * is held in memory, each content once; what was there before stays in the file until somebody asks for it.
 */
import { type FileVersion, VERSION_DEVICE_BYTES } from '../file-versions.js';
import type {
  DiskRequest,
  Mark,
  Operation,
  OperationKind,
  Trace,
  TracedDevice,
  TraceEvent,
} from '../trace.js';
import { BasePages } from './base-pages.js';
import { Contents } from './contents.js';
import { MAX_WRITE_BYTES } from './fields.js';
import { Frames } from './frames.js';
import { FUA, ITEM, ItemReader, KINDS, PIECE_BYTES, piecesOf, SECTOR_BYTES, TraceDamage } from './items.js';

export interface StoredDevice extends TracedDevice {
  /** Bytes. */
  readonly blockSize: number;
  /** Of a file that is replaced as a whole (file-versions.ts): what it held, by the numbers that the device holds. Recoveries may add theirs. */
  readonly versions?: FileVersion[];
}

/** That the devices are the images of a volume. */
export interface StoredVolume {
  /** What was opened, without links. */
  readonly named: string;
  /** What clients used. */
  readonly disks: readonly TracedDevice[];
  /** What small files beside the images held before, by their paths. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  /** Files that did not stay as they were. */
  readonly changed: ReadonlySet<string>;
}

export interface StoredTrace extends Trace {
  readonly devices: readonly StoredDevice[];
  readonly requests: readonly DiskRequest[];
  /** null: it is of a disk alone. */
  readonly volume: StoredVolume | null;
  /** What was recorded. */
  readonly command: readonly string[];
  /** Milliseconds since 1970, when it began. */
  readonly createdMs: number;
  /** Microseconds since then, of each event. */
  readonly times: readonly number[];
  /** Where what could be used ends, and why; null: it is whole. */
  readonly damage: { readonly offsetBytes: number; readonly why: string } | null;
  /** Pages of 4096 bytes, by their numbers, that the device of this index held before, and that are not zeroes. Until it is closed. */
  base(index: number): ReadonlyMap<number, Uint8Array>;
  close(): void;
}

/** Throws METADATA_DAMAGED, UNSUPPORTED where nothing of it can be used, and what opening and reading a file throw. */
export function readTrace(path: string): StoredTrace {
  const frames = Frames.open(path);
  try {
    return new TraceReading(frames).read();
  } catch (error) {
    frames.close();
    throw error;
  }
}

class TraceReading {
  private readonly devices: StoredDevice[] = [];
  private readonly events: TraceEvent[] = [];
  private readonly times: number[] = [];
  private readonly operations: Operation[] = [];
  private readonly completed: boolean[] = [];
  private readonly disks: TracedDevice[] = [];
  private readonly requests: DiskRequest[] = [];
  private readonly asked: Operation[] = [];
  private readonly answered: boolean[] = [];
  private readonly files = new Map<string, Uint8Array>();
  private readonly changed = new Set<string>();
  private named: string | null = null;
  private readonly bases: BasePages[] = [];
  private readonly contents: Contents;
  private command: readonly string[] = [];
  private microseconds = 0;
  private isEnded = false;

  constructor(private readonly frames: Frames) {
    this.contents = new Contents(frames);
  }

  read(): StoredTrace {
    const damage = this.readAll();
    const { devices, events, times, requests, command, bases, frames } = this;
    const { createdMs } = frames;
    return {
      ...{ devices, events, times, requests, command, createdMs, damage },
      volume: this.volume(),
      base: (index) => bases[index]!,
      close: () => frames.close(),
    };
  }

  /** What has a small image is a device. */
  private volume(): StoredVolume | null {
    const { named, disks, files, changed } = this;
    for (const { name } of this.devices) {
      files.delete(name);
      changed.delete(name);
    }
    return named === null ? null : { named, disks, files, changed };
  }

  private readAll(): StoredTrace['damage'] {
    let offsetBytes = this.frames.endBytes;
    try {
      for (let items = this.frames.next(); items !== null; items = this.frames.next()) {
        this.readFrame(new ItemReader(items));
        offsetBytes = this.frames.endBytes;
      }
    } catch (error) {
      if (!(error instanceof TraceDamage)) throw error;
      return { offsetBytes, why: error.message };
    }
    return this.isEnded ? null : { offsetBytes, why: 'the recording was not closed' };
  }

  private readFrame(items: ItemReader): void {
    while (!items.isAtEnd) {
      if (this.isEnded) throw new TraceDamage('something comes behind its end');
      const code = items.number();
      const read = this.byCode[code];
      if (read === undefined) throw new TraceDamage(`item ${code} is unknown`);
      read(items);
    }
  }

  private readonly byCode: Readonly<Record<number, (items: ItemReader) => void>> = {
    [ITEM.command]: (items) => {
      const command = jsonOf(items.text());
      if (!Array.isArray(command) || !command.every((word) => typeof word === 'string'))
        throw new TraceDamage('its command makes no sense');
      this.command = command;
    },
    [ITEM.device]: (items) => {
      const [size, blockSize] = [items.number(), items.number()];
      if (size === 0 || size % SECTOR_BYTES !== 0) throw new TraceDamage(`a device has ${size} bytes`);
      this.devices.push({ name: items.text(), size, blockSize });
      this.bases.push(new BasePages(this.contents));
    },
    [ITEM.content]: (items) => this.contents.add(items),
    [ITEM.base]: (items) => this.readBase(items),
    [ITEM.submit]: (items) => this.readSubmit(items),
    [ITEM.complete]: (items) => {
      const time = items.number();
      const number = this.operations.length - 1 - items.number();
      const operation = this.operations[number];
      if (operation === undefined || this.completed[number] === true)
        throw new TraceDamage(`operation ${number} cannot complete`);
      this.completed[number] = true;
      this.add({ kind: 'complete', operation }, time);
    },
    [ITEM.volume]: (items) => {
      this.named = items.text();
    },
    [ITEM.file]: (items) => this.readFile(items),
    [ITEM.version]: (items) => this.readVersion(items),
    [ITEM.disk]: (items) => {
      const size = items.number();
      this.disks.push({ name: items.text(), size });
    },
    [ITEM.asked]: (items) => this.readAsked(items),
    [ITEM.answered]: (items) => {
      this.passed(items.number());
      const number = this.asked.length - 1 - items.number();
      const request = this.asked[number];
      if (request === undefined || this.answered[number] === true)
        throw new TraceDamage(`request ${number} cannot be answered`);
      this.answered[number] = true;
      this.requests.push({ is: 'answered', at: this.events.length, request });
    },
    [ITEM.mark]: (items) => {
      const [time, name, detail] = [items.number(), items.text(), items.text()];
      const mark: Mark = detail === '' ? { name } : { name, detail: jsonOf(detail) };
      this.add({ kind: 'mark', mark }, time);
    },
    [ITEM.end]: (items) => {
      const { devices, contents, operations, events } = this;
      for (const { length } of [devices, contents, operations, events])
        if (items.number() !== length) throw new TraceDamage('something of it is missing');
      this.isEnded = true;
    },
  };

  private readBase(items: ItemReader): void {
    const [device, page, content] = [items.number(), items.number(), items.number() - 1];
    const size = this.deviceAt(device).size;
    this.contents.assertHas(content);
    if (page * PIECE_BYTES >= size) throw new TraceDamage(`page ${page} is behind the end of its device`);
    this.bases[device]!.add(page, content);
  }

  /** The first is what it held; what comes later tells that it changed. */
  private readFile(items: ItemReader): void {
    const path = items.text();
    const bytes = items.bytes(items.number()).slice();
    if (this.files.has(path) || this.events.length > 0) this.changed.add(path);
    else this.files.set(path, bytes);
  }

  private readVersion(items: ItemReader): void {
    const [index, length] = [items.number(), items.number()];
    const device = this.deviceAt(index);
    if (device.size !== VERSION_DEVICE_BYTES) throw new TraceDamage(`device ${index} is no file`);
    const version = length === 0 ? null : items.bytes(length - 1).slice();
    if (device.versions === undefined) this.devices[index] = { ...device, versions: [version] };
    else device.versions.push(version);
  }

  private readSubmit(items: ItemReader): void {
    const [time, device, { kind, fua }] = [items.number(), items.number(), kindOf(items.number())];
    const [offset, length] = [items.number() * SECTOR_BYTES, items.number() * SECTOR_BYTES];
    assertFits(kind, offset, length, this.deviceAt(device).size);
    const number = this.operations.length;
    const bytes = kind === 'write' ? this.readPieces(items, offset, length) : null;
    const operation = { number, device, kind, offset, length, bytes, fua };
    this.operations.push(operation);
    this.add({ kind: 'submit', operation }, time);
  }

  private readAsked(items: ItemReader): void {
    this.passed(items.number());
    const [device, { kind, fua }] = [items.number(), kindOf(items.number())];
    const [offset, length] = [items.number(), items.number()];
    const disk = this.disks[device];
    if (disk === undefined) throw new TraceDamage(`there is no disk ${device}`);
    assertFits(kind, offset, length, disk.size);
    const before = offset % SECTOR_BYTES;
    const whole = Math.ceil((before + length) / SECTOR_BYTES) * SECTOR_BYTES;
    const bytes =
      kind === 'write'
        ? this.readPieces(items, offset - before, whole).subarray(before, before + length)
        : null;
    const request = { number: this.asked.length, device, kind, offset, length, bytes, fua };
    this.asked.push(request);
    this.requests.push({ is: 'asked', at: this.events.length, request });
  }

  private readPieces(items: ItemReader, offset: number, length: number): Uint8Array {
    const pieces = piecesOf(offset, length);
    // Each takes a byte at least; what says that it is longer would take all memory.
    if (length > MAX_WRITE_BYTES || pieces > items.leftBytes)
      throw new TraceDamage(`a write says that it has ${length} bytes`);
    const refs = Array.from({ length: pieces }, () => items.number());
    return this.contents.together(refs, offset, length);
  }

  private passed(microseconds: number): void {
    this.microseconds += microseconds;
    if (!Number.isSafeInteger(this.microseconds)) throw new TraceDamage('a time is too large');
  }

  private add(event: TraceEvent, microseconds: number): void {
    this.passed(microseconds);
    this.events.push(event);
    this.times.push(this.microseconds);
  }

  private deviceAt(index: number): StoredDevice {
    const device = this.devices[index];
    if (device === undefined) throw new TraceDamage(`there is no device ${index}`);
    return device;
  }
}

function kindOf(what: number): { readonly kind: OperationKind; readonly fua: boolean } {
  const kind = KINDS[what % FUA];
  if (kind === undefined || what >= 2 * FUA) throw new TraceDamage(`operations of kind ${what} are unknown`);
  return { kind, fua: what >= FUA };
}

function assertFits(kind: OperationKind, offset: number, length: number, size: number): void {
  const isFlush = kind === 'flush';
  const fits = offset + length <= size && (isFlush ? offset === 0 : true);
  if (!fits || (length === 0) !== isFlush)
    throw new TraceDamage(`a ${kind} of ${length} bytes at ${offset} is not within its device`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new TraceDamage('a text is no JSON');
  }
}
