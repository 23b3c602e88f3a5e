/**
 * The data of single options and of their replies (proto.md, "Option types" and "Option reply types"): each
 * is described once, its encoder beside its decoder.
 *
 * Decoders answer null for data that contradicts itself. That does not end a conversation: the stream can be
 * followed by the length in the header, and the option is answered with NBD_REP_ERR_INVALID.
 */
import { INFOS } from './constants.js';
import type { ExportAnswer } from './handshake.js';
import { decodeString, encodeString } from './strings.js';

/** Of NBD_OPT_INFO and NBD_OPT_GO. */
export interface InfoRequest {
  readonly name: string;
  /** NBD_INFO_ numbers. */
  readonly infos: readonly number[];
}

/** Of NBD_OPT_LIST_META_CONTEXT and NBD_OPT_SET_META_CONTEXT. */
export interface MetaContextRequest {
  readonly name: string;
  readonly queries: readonly string[];
}

/** Of holdfast's own options. */
export interface OwnRequest {
  readonly name: string;
  /** The option's to read. */
  readonly payload: Buffer;
}

/** Of NBD_REP_SERVER. */
export interface ListedExport {
  readonly name: string;
  readonly description: string;
}

/** Of NBD_INFO_BLOCK_SIZE, in bytes. */
export interface BlockSizes {
  readonly minimum: number;
  readonly preferred: number;
  readonly maximumPayload: number;
}

/** Of NBD_REP_INFO; `unknown` is one that this version knows nothing of. */
export type Info =
  | ({ readonly kind: 'export' } & ExportAnswer)
  | { readonly kind: 'name' | 'description'; readonly text: string }
  | ({ readonly kind: 'block-size' } & BlockSizes)
  | { readonly kind: 'unknown'; readonly type: number };

/** Of NBD_REP_META_CONTEXT. */
export interface MetaContext {
  readonly id: number;
  readonly name: string;
}

/** Numbers and strings taken from the front of a buffer; `null` once it was too short. */
class Fields {
  #at = 0;

  constructor(private readonly bytes: Buffer) {}

  get left(): number {
    return this.bytes.byteLength - this.#at;
  }

  u16(): number | null {
    return this.left < 2 ? null : this.bytes.readUInt16BE(this.#advance(2));
  }

  u32(): number | null {
    return this.left < 4 ? null : this.bytes.readUInt32BE(this.#advance(4));
  }

  /** A string of so many bytes. */
  text(length: number): string | null {
    if (this.left < length) return null;
    const at = this.#advance(length);
    return decodeString(this.bytes.subarray(at, at + length));
  }

  /** A string behind its length of 32 bits. */
  counted(): string | null {
    const length = this.u32();
    return length === null ? null : this.text(length);
  }

  #advance(bytes: number): number {
    this.#at += bytes;
    return this.#at - bytes;
  }

  /** All that is left. */
  rest(): Buffer {
    return this.bytes.subarray(this.#at);
  }
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function counted(text: string): Buffer {
  const bytes = encodeString(text);
  return Buffer.concat([u32(bytes.byteLength), bytes]);
}

export function encodeInfoRequest({ name, infos }: InfoRequest): Buffer {
  return Buffer.concat([counted(name), u16(infos.length), ...infos.map(u16)]);
}

export function decodeInfoRequest(data: Buffer): InfoRequest | null {
  const fields = new Fields(data);
  const name = fields.counted();
  const count = fields.u16();
  if (name === null || count === null || fields.left !== count * 2) return null;
  return { name, infos: Array.from({ length: count }, () => fields.u16()!) };
}

export function encodeMetaContextRequest({ name, queries }: MetaContextRequest): Buffer {
  return Buffer.concat([counted(name), u32(queries.length), ...queries.map(counted)]);
}

export function decodeMetaContextRequest(data: Buffer): MetaContextRequest | null {
  const fields = new Fields(data);
  const name = fields.counted();
  const count = fields.u32();
  // Each query takes 4 bytes at least: a count beyond that is not believed, whatever it is.
  if (name === null || count === null || count > fields.left / 4) return null;
  const queries: string[] = [];
  for (let i = 0; i < count; i++) {
    const query = fields.counted();
    if (query === null) return null;
    queries.push(query);
  }
  return fields.left === 0 ? { name, queries } : null;
}

export function encodeOwnRequest({ name, payload }: OwnRequest): Buffer {
  return Buffer.concat([counted(name), payload]);
}

export function decodeOwnRequest(data: Buffer): OwnRequest | null {
  const fields = new Fields(data);
  const name = fields.counted();
  return name === null ? null : { name, payload: fields.rest() };
}

export function encodeListedExport({ name, description }: ListedExport): Buffer {
  return Buffer.concat([counted(name), encodeString(description)]);
}

export function decodeListedExport(data: Buffer): ListedExport | null {
  const fields = new Fields(data);
  const name = fields.counted();
  const description = name === null ? null : fields.text(fields.left);
  return name === null || description === null ? null : { name, description };
}

export function encodeMetaContext({ id, name }: MetaContext): Buffer {
  return Buffer.concat([u32(id), encodeString(name)]);
}

export function decodeMetaContext(data: Buffer): MetaContext | null {
  const fields = new Fields(data);
  const id = fields.u32();
  const name = id === null ? null : fields.text(fields.left);
  return id === null || name === null ? null : { id, name };
}

export function encodeInfo(info: Exclude<Info, { kind: 'unknown' }>): Buffer {
  switch (info.kind) {
    case 'export': {
      const bytes = Buffer.alloc(12);
      bytes.writeUInt16BE(INFOS.NBD_INFO_EXPORT, 0);
      bytes.writeBigUInt64BE(info.size, 2);
      bytes.writeUInt16BE(info.transmissionFlags, 10);
      return bytes;
    }
    case 'block-size': {
      const sizes = [info.minimum, info.preferred, info.maximumPayload];
      return Buffer.concat([u16(INFOS.NBD_INFO_BLOCK_SIZE), ...sizes.map(u32)]);
    }
    case 'name':
      return Buffer.concat([u16(INFOS.NBD_INFO_NAME), encodeString(info.text)]);
    case 'description':
      return Buffer.concat([u16(INFOS.NBD_INFO_DESCRIPTION), encodeString(info.text)]);
  }
}

export function decodeInfo(data: Buffer): Info | null {
  if (data.byteLength < 2) return null;
  const type = data.readUInt16BE(0);
  switch (type) {
    case INFOS.NBD_INFO_EXPORT:
      if (data.byteLength !== 12) return null;
      return { kind: 'export', size: data.readBigUInt64BE(2), transmissionFlags: data.readUInt16BE(10) };
    case INFOS.NBD_INFO_BLOCK_SIZE:
      if (data.byteLength !== 14) return null;
      return {
        kind: 'block-size',
        minimum: data.readUInt32BE(2),
        preferred: data.readUInt32BE(6),
        maximumPayload: data.readUInt32BE(10),
      };
    case INFOS.NBD_INFO_NAME:
    case INFOS.NBD_INFO_DESCRIPTION: {
      const text = decodeString(data.subarray(2));
      if (text === null) return null;
      return { kind: type === INFOS.NBD_INFO_NAME ? 'name' : 'description', text };
    }
    default:
      return { kind: 'unknown', type };
  }
}
