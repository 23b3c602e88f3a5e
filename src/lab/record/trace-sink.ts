/** Where a recording goes as it happens: a trace file, or for tests memory. */
import type { FileVersion } from '../../crash/file-versions.js';
import type { DiskRequest, TraceEvent } from '../../crash/trace.js';

export interface TraceSink {
  /** Its index: 0, 1, ... */
  device(device: { readonly name: string; readonly size: number; readonly blockSize: number }): number;
  /** What it held before: whole pages of 4096 bytes but at its end, each told once. What is never told is zeroes. */
  base(device: number, offset: number, bytes: Uint8Array): void;
  /** Of a volume: what was named; then its small files, once before the first event and again where they have changed by the end. */
  volume(named: string): void;
  file(path: string, bytes: Uint8Array): void;
  /** Of a device that is a file which is replaced as a whole: what it held before, then what each write of its sector means. */
  version(device: number, version: FileVersion): void;
  /** What clients use of it: its index, counted by itself. */
  disk(disk: { readonly name: string; readonly size: number }): number;
  request(request: Pick<DiskRequest, 'is' | 'request'>): void;
  /** `bytes` of an operation are used up when this returns. */
  event(event: TraceEvent): void;
  /** Returns when little enough waits to be written; throws what writing threw. */
  ready(): Promise<void>;
  /** Returns when nothing waits to be written any more; throws what writing threw. */
  written(): Promise<void>;
  /** All of it is durable, and whole. */
  close(): Promise<void>;
  /** So far. */
  readonly bytes: number;
}
