/** Memory of which most calls can be had at once; what is refused may have been done in part, as the contract allows. */
import { byteLength } from '../../../src/device/buffers.js';
import type { PromptDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { SparseMemory } from '../../../src/device/sparse-memory.js';
import type { SeededRandom } from './seeded-random.js';

const BLOCK_BYTES = 512;

export class PromptMemory extends MemoryDevice implements PromptDevice {
  /** Calls that ended at once. */
  prompt = 0;
  private readonly content: SparseMemory;

  constructor(
    size: number,
    private readonly random: SeededRandom,
    name = 'memory',
  ) {
    const content = new SparseMemory(BLOCK_BYTES);
    super(size, { blockSize: BLOCK_BYTES, name }, content);
    this.content = content;
  }

  readNow(offset: number, into: Uint8Array): boolean {
    if (this.random.chance(0.2)) return false;
    this.content.read(offset, into.length, into);
    this.prompt += 1;
    return true;
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    if (byteLength(from) !== length) throw new Error(`${length} bytes are not what there is`);
    const isRefused = this.random.chance(0.2);
    const part = isRefused ? this.random.below(length / BLOCK_BYTES + 1) * BLOCK_BYTES : length;
    if (part > 0) this.content.write(offset, part, [Buffer.concat(from).subarray(0, part)]);
    this.prompt += isRefused ? 0 : 1;
    return !isRefused;
  }
}
