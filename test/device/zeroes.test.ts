import { fc, test } from '@fast-check/vitest';
import { expect } from 'vitest';
import { isZero } from '../../src/device/zeroes.js';

const seed = process.env.HOLDFAST_SEED === undefined ? {} : { seed: Number(process.env.HOLDFAST_SEED) };

test.prop([fc.nat(200_000), fc.nat(7), fc.nat()], seed)(
  'zeroes are known, wherever they lie',
  (bytes, shift, at) => {
    const view = new Uint8Array(shift + bytes + 1).fill(1).subarray(shift, shift + bytes);
    view.fill(0);
    expect(isZero(view)).toBe(true);
    if (bytes === 0) return;
    view[at % bytes] = 1;
    expect(isZero(view)).toBe(false);
  },
);
