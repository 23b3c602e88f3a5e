/**
 * What is served: a block device under a name. Whoever starts a server makes these; the server knows nothing of
 * volumes, only the contract of devices. It does not close the device.
 */
import type { BlockDevice } from '../../device/contract.js';
import type { StatusContext } from './status-contexts.js';

/** When a write is answered: see docs/nbd.md. */
export type CacheMode = 'writeback' | 'writethrough';

export interface Export {
  /** By which clients ask for it; at most 4096 bytes. */
  readonly name: string;
  /** For people. */
  readonly description?: string;
  readonly device: BlockDevice;
  /** Also when the device itself could be written; a device that is read only is served so in any case. */
  readonly readOnly?: boolean;
  /**
   * Whether a flush on one connection covers what was answered on all: so it is when nothing but `device` holds
   * back what was written. True unless said otherwise.
   */
  readonly canMultiConn?: boolean;
  /** `writeback` unless said otherwise. */
  readonly cache?: CacheMode;
  /**
   * Whether the device zeroes a range faster than it writes one. NBD_CMD_FLAG_FAST_ZERO is refused where it does
   * not: false unless said otherwise.
   */
  readonly zeroesFast?: boolean;
  /** Bytes, a power of two; the device's blockSize unless said otherwise. */
  readonly minimumBlockBytes?: number | undefined;
  /** Bytes, a power of two; 4096 unless said otherwise. */
  readonly preferredBlockBytes?: number;
  /** Bytes; 64 MiB unless said otherwise. */
  readonly maximumPayloadBytes?: number;
  /** Beside base:allocation, which every export has: asked for whenever a client asks, since they may come and go. */
  readonly contexts?: () => readonly StatusContext[];
  /** Options of holdfast's own that it answers, by their numbers; none unless said otherwise. */
  readonly extensions?: ReadonlyMap<number, ExportExtension>;
}

/** The connection that asks an extension. */
export interface ExtensionPeer {
  /** From now on this connection finds `given` where it asks for the export; others find what they found. */
  serveAs(given: Export): void;
  /** Ends the connection at once. */
  hangUp(): void;
  /** The connection has ended, and no request of it is in flight. */
  readonly ended: Promise<void>;
}

export type ExtensionAnswer =
  | { readonly kind: 'done'; readonly payload: Uint8Array }
  /** The payload is none of this option's. */
  | { readonly kind: 'malformed'; readonly why: string }
  /** It was understood, and is not done. */
  | { readonly kind: 'refused'; readonly why: string; readonly payload: Uint8Array };

/** Throws only what is a fault of ours: the connection ends then. The handshake's time does not run meanwhile. */
export type ExportExtension = (payload: Buffer, peer: ExtensionPeer) => Promise<ExtensionAnswer>;
