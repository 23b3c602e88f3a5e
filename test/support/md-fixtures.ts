/**
 * Arrays of the real kernel from fixtures/md: as devices in memory, or unpacked into a temporary folder for
 * what works on files.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { MemoryDevice } from '../../src/device/memory.js';

const ROOT = new URL('../../fixtures/md/', import.meta.url);

export const WHOLE_ARRAYS = [
  'bitrot-parity',
  'clean-left-symmetric',
  'dirty-bitmap',
  'missing-one',
  'stale-member',
] as const;

/** As mdadm and the kernel name them; sectors. 2^64-1 has lost its last digits in JSON. */
export interface FixtureSuperblock {
  readonly version: string;
  readonly feature_map: number;
  readonly uuid: string;
  readonly name: string;
  readonly level: number;
  readonly layout: number;
  readonly size: number;
  readonly chunk: number;
  readonly raid_disks: number;
  readonly ctime: number;
  readonly utime: number;
  readonly data_offset: number;
  readonly data_size: number;
  readonly super_offset: number;
  readonly recovery_offset: number | null;
  readonly dev_number: number;
  readonly device_uuid: string;
  readonly events: number;
  readonly resync_offset: number;
  readonly max_dev: number;
  readonly dev_roles: readonly number[];
  readonly bblog_size: number;
  readonly bblog_offset: number;
  readonly bblog_shift: number;
  readonly bad_blocks?: readonly { readonly sector: number; readonly sectors: number }[];
}

export interface FixtureMember {
  readonly file: string;
  readonly superblock: FixtureSuperblock | null;
  readonly bitmap?: {
    readonly events: number;
    readonly chunk_bytes: number;
    readonly bits: number;
    readonly dirty_bits: readonly number[];
  };
}

export interface FixtureExpectation {
  readonly verdict: string;
  readonly slots: Readonly<Record<string, string>>;
  readonly set_aside: Readonly<Record<string, string>>;
  readonly partly_rebuilt: Readonly<Record<string, number>>;
  readonly content_sha256?: string;
  readonly bad_rows?: readonly number[];
}

export interface Fixture {
  readonly name: string;
  readonly expect: FixtureExpectation;
  readonly members: readonly FixtureMember[];
  /** Of the same order as `members`. */
  readonly devices: readonly MemoryDevice[];
}

/** What case.json says of single cases, beyond what all have. */
export interface FixtureFacts {
  readonly missing_member_data_sha256?: string;
  readonly wrong_content_sha256?: string;
  readonly rebuilt_data_sha256?: string;
  readonly power_cut?: { readonly data_area_sha256_after_kernel_resync: Readonly<Record<string, string>> };
}

export function factsOf(name: string): FixtureFacts {
  return wholeCase(name) as unknown as FixtureFacts;
}

interface WholeCase {
  readonly case: string;
  readonly expect: FixtureExpectation;
  readonly members: readonly FixtureMember[];
}

interface MetadataCase extends WholeCase {
  readonly badRows: readonly number[];
  readonly kernel: { readonly assembles?: string };
  readonly members: readonly (FixtureMember & {
    readonly sizeBytes: number;
    readonly pieces: readonly { readonly offset: number; readonly base64: string }[];
  })[];
}

/** One of WHOLE_ARRAYS, in memory. */
export async function loadArray(name: string): Promise<Fixture> {
  const found = wholeCase(name);
  const devices = found.members.map(async (member) => {
    const bytes = imageOf(name, member.file);
    const device = new MemoryDevice(bytes.byteLength, { name: member.file });
    await device.write(0, bytes);
    return device;
  });
  return { name, expect: found.expect, members: found.members, devices: await Promise.all(devices) };
}

export function metadataCases(): string[] {
  return readdirSync(new URL('metadata/', ROOT))
    .filter((file) => file.endsWith('.json.gz'))
    .map((file) => file.slice(0, -'.json.gz'.length))
    .sort();
}

/** An array of which only the metadata is there. */
export async function loadMetadata(
  name: string,
): Promise<Fixture & { kernel: string; badRows: readonly number[] }> {
  const found = parse(gunzipSync(readFileSync(new URL(`metadata/${name}.json.gz`, ROOT)))) as MetadataCase;
  const devices = found.members.map(async (member) => {
    const device = new MemoryDevice(member.sizeBytes, { name: member.file });
    for (const piece of member.pieces)
      await device.write(piece.offset, new Uint8Array(Buffer.from(piece.base64, 'base64')));
    return device;
  });
  return {
    name,
    expect: found.expect,
    members: found.members,
    devices: await Promise.all(devices),
    kernel: found.kernel.assembles ?? '',
    badRows: found.badRows,
  };
}

export interface UnpackedArray {
  readonly directory: string;
  readonly expect: FixtureExpectation;
  readonly members: readonly FixtureMember[];
  /** Full paths, in the order of `members`. */
  readonly images: readonly string[];
  remove(): void;
}

/** One of WHOLE_ARRAYS, as files in a new temporary folder. */
export function unpackArray(name: string): UnpackedArray {
  const found = wholeCase(name);
  const directory = mkdtempSync(join(tmpdir(), `holdfast-${name}-`));
  const images = found.members.map((member) => {
    const path = join(directory, member.file);
    writeFileSync(path, imageOf(name, member.file));
    return path;
  });
  return {
    directory,
    expect: found.expect,
    members: found.members,
    images,
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

function wholeCase(name: string): WholeCase {
  return parse(readFileSync(new URL(`${name}/case.json`, ROOT))) as WholeCase;
}

function imageOf(name: string, file: string): Uint8Array {
  return new Uint8Array(gunzipSync(readFileSync(new URL(`${name}/${file}.gz`, ROOT))));
}

function parse(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes).toString('utf8'));
}
