/** What a metadata engine is held against: a plain map whose keys are sorted anew each time, and random transactions. */
import type { SeededRandom } from '../../../crash/seeded-random.js';
import type { Change, MetadataEngine } from '../../../metadata/engine/contract.js';

export const ALL: readonly [Uint8Array, Uint8Array] = [new Uint8Array(0), new Uint8Array(256).fill(255)];

export function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}

export function put(key: string, value: string): Change {
  return { key: bytesOf(key), value: bytesOf(value) };
}

export function take(key: string): Change {
  return { key: bytesOf(key), value: null };
}

export async function list(engine: MetadataEngine, from = ALL[0], to = ALL[1]): Promise<string[]> {
  const found: string[] = [];
  for await (const { key, value } of engine.entries(from, to)) found.push(`${hex(key)}=${hex(value)}`);
  return found;
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** A map that knows nothing of order until it is asked. */
export class EngineModel {
  readonly content = new Map<string, Uint8Array>();

  apply(changes: readonly Change[]): void {
    for (const { key, value } of changes) {
      if (value === null) this.content.delete(hex(key));
      else this.content.set(hex(key), value.slice());
    }
  }

  list(from = ALL[0], to = ALL[1]): string[] {
    const [low, high] = [hex(from), hex(to)];
    const keys = [...this.content.keys()].filter((key) => key >= low && key < high).sort();
    return keys.map((key) => `${key}=${hex(this.content.get(key)!)}`);
  }
}

/** Keys that collide, share prefixes, and are short and long; values from none to the longest. */
export function randomChanges(random: SeededRandom, most = 12): Change[] {
  return Array.from({ length: random.between(1, most) }, () => ({
    key: randomKey(random),
    value: random.chance(0.35) ? null : randomValue(random),
  }));
}

export function randomKey(random: SeededRandom): Uint8Array {
  const key = bytesOf(`${random.pick(['a', 'b', '\0', '\xff'])}${random.below(200)}`);
  if (!random.chance(0.2)) return key;
  const long = new Uint8Array(random.pick([40, 254, 255])).fill(random.pick([0, 97, 255]));
  long.set(key.subarray(0, 3), long.length - 3);
  return long;
}

function randomValue(random: SeededRandom): Uint8Array {
  return random.bytes(random.pick([0, 1, 20, 100, 1000, random.below(3073), 3072]));
}
