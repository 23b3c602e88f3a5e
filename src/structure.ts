/**
 * How structures on disk are described: once, as data. Codecs read and write fields by name through the
 * description, and docs/on-disk-format.md is held to it by a test; no offset stands anywhere else.
 *
 * Invariants
 * - All integers are little-endian, but where a structure says that its order is big (others' formats: jbd2).
 * - The fields of a structure that are not `instead` of another cover it without gap or overlap.
 * - Bytes that were read and not yet checked are `UncheckedBytes`; what a decoder has checked is another type.
 */

export type FieldType = 'u8' | 's16' | 'u16' | 's32' | 'u32' | 'u64' | 'bytes';

export interface Field {
  readonly name: string;
  /** Bytes from the start of the structure. */
  readonly offset: number;
  readonly type: FieldType;
  /** Only of `bytes`: how many. */
  readonly length?: number;
  /** Why it is there, and what it says. */
  readonly why: string;
  /** It shares its bytes with this field; which of the two is meant, `why` tells. */
  readonly instead?: string;
}

const INTEGER_BYTES = { u8: 1, s16: 2, u16: 2, s32: 4, u32: 4, u64: 8 } as const;

export function fieldBytes(field: Field): number {
  return field.type === 'bytes' ? (field.length ?? 0) : INTEGER_BYTES[field.type];
}

type NameOf<F extends Field, T extends FieldType> = Extract<F, { type: T }>['name'];
type SmallInteger = 'u8' | 's16' | 'u16' | 's32' | 'u32';

/** Bytes as they came from a device: nothing in them may be believed. */
export class UncheckedBytes {
  constructor(
    readonly bytes: Uint8Array,
    /** Where they were read, in the image. */
    readonly foundAt: number,
  ) {}
}

export interface StructureOptions<F extends Field> {
  /** As the page on the format calls it. */
  readonly name: string;
  readonly sizeBytes: number;
  readonly fields: readonly F[];
  /** Of the bytes of its integers; little unless said otherwise. */
  readonly order?: 'little' | 'big';
}

/** What any structure is, whatever its fields are called. */
export interface StructureDescription {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fields: readonly Field[];
}

export class Structure<F extends Field = Field> implements StructureDescription {
  readonly name: string;
  readonly sizeBytes: number;
  readonly fields: readonly F[];
  readonly isLittleEndian: boolean;
  private readonly byName: ReadonlyMap<string, F>;

  constructor(options: StructureOptions<F>) {
    this.name = options.name;
    this.sizeBytes = options.sizeBytes;
    this.fields = options.fields;
    this.isLittleEndian = options.order !== 'big';
    this.byName = new Map(options.fields.map((field) => [field.name, field]));
  }

  offsetOf(name: F['name']): number {
    return this.field(name).offset;
  }

  /** A view of one structure that begins at `at` in `bytes`. Throws RangeError if it does not fit. */
  at(bytes: Uint8Array, at = 0): StructureView<F> {
    if (at < 0 || at + this.sizeBytes > bytes.byteLength) {
      throw new RangeError(
        `${this.name} needs ${this.sizeBytes} bytes at ${at}, there are ${bytes.byteLength}`,
      );
    }
    return new StructureView(this, bytes.subarray(at, at + this.sizeBytes));
  }

  field(name: string): F {
    const field = this.byName.get(name);
    if (field === undefined) throw new Error(`${this.name} has no field ${name}`);
    return field;
  }
}

/** Reads and writes the fields of one structure in place. */
export class StructureView<F extends Field> {
  private readonly view: DataView;

  constructor(
    private readonly structure: Structure<F>,
    private readonly own: Uint8Array,
  ) {
    this.view = new DataView(own.buffer, own.byteOffset, own.byteLength);
  }

  number(name: NameOf<F, SmallInteger>): number {
    const { offset, type } = this.structure.field(name);
    switch (type) {
      case 'u8':
        return this.view.getUint8(offset);
      case 'u16':
        return this.view.getUint16(offset, this.structure.isLittleEndian);
      case 's16':
        return this.view.getInt16(offset, this.structure.isLittleEndian);
      case 's32':
        return this.view.getInt32(offset, this.structure.isLittleEndian);
      default:
        return this.view.getUint32(offset, this.structure.isLittleEndian);
    }
  }

  big(name: NameOf<F, 'u64'>): bigint {
    return this.view.getBigUint64(this.structure.field(name).offset, this.structure.isLittleEndian);
  }

  /** A view into the structure, not a copy. */
  bytes(name: NameOf<F, 'bytes'>): Uint8Array {
    const field = this.structure.field(name);
    return this.own.subarray(field.offset, field.offset + fieldBytes(field));
  }

  /** Throws RangeError where the value does not fit: a codec must never store another value than it was given. */
  setNumber(name: NameOf<F, SmallInteger>, value: number): void {
    const { offset, type } = this.structure.field(name);
    const bits = 8 * INTEGER_BYTES[type as SmallInteger];
    const signed = type.startsWith('s');
    const low = signed ? -(2 ** (bits - 1)) : 0;
    const high = signed ? 2 ** (bits - 1) : 2 ** bits;
    if (!Number.isInteger(value) || value < low || value >= high) {
      throw new RangeError(`${this.structure.name}.${name} is ${type} and cannot hold ${value}`);
    }
    switch (bits) {
      case 8:
        this.view.setUint8(offset, value);
        break;
      case 16:
        this.view.setUint16(offset, value, this.structure.isLittleEndian);
        break;
      default:
        this.view.setUint32(offset, value, this.structure.isLittleEndian);
    }
  }

  setBig(name: NameOf<F, 'u64'>, value: bigint): void {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
      throw new RangeError(`${this.structure.name}.${name} is u64 and cannot hold ${value}`);
    }
    this.view.setBigUint64(this.structure.field(name).offset, value, this.structure.isLittleEndian);
  }

  setBytes(name: NameOf<F, 'bytes'>, value: Uint8Array): void {
    const into = this.bytes(name);
    if (value.byteLength > into.byteLength) {
      throw new RangeError(
        `${this.structure.name}.${name} has ${into.byteLength} bytes, not ${value.byteLength}`,
      );
    }
    into.fill(0);
    into.set(value);
  }
}

/** Keeps the names and types of fields, so that a misspelt one is an error of the compiler. */
export function describe<const F extends Field>(options: StructureOptions<F>): Structure<F> {
  return new Structure(options);
}
