/** Sizes in and out: exactly those that are promised, and nothing guessed. */
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { formatRoundedSize, formatSize, parseSize } from '../../src/cli/sizes.js';
import { UserError } from '../../src/errors.js';

describe('parseSize', () => {
  it.each([
    ['0', 0],
    ['4096', 4096],
    ['4K', 4096],
    ['4KiB', 4096],
    ['10M', 10 * 1024 ** 2],
    ['1GiB', 1024 ** 3],
    ['1T', 1024 ** 4],
    ['2PiB', 2 * 1024 ** 5],
    ['4KB', 4000],
    ['1MB', 1_000_000],
    ['1GB', 1_000_000_000],
    ['1TB', 1e12],
    ['9007199254740991', Number.MAX_SAFE_INTEGER],
  ])('reads %s as %d bytes', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each([
    ['a fraction', '1.5G'],
    ['a fraction with a comma', '1,5G'],
    ['a sign', '-1'],
    ['a plus', '+1'],
    ['a space within', '1 GiB'],
    ['a space after', '1G '],
    ['a newline after', '1G\n'],
    ['a small letter', '4k'],
    ['a small suffix', '4Kib'],
    ['bytes by name', '4B'],
    ['a unit alone', 'K'],
    ['nothing', ''],
    ['a bit more', '4KiBs'],
    ['hexadecimal', '0x10'],
    ['an exponent', '1e3'],
    ['a unit that there is not', '4X'],
    ['digits of another script', '٤K'],
    ['infinity', 'Infinity'],
  ])('refuses %s', (_what, text) => {
    expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(() => parseSize(text)).toThrow(UserError);
  });

  it.each(['9007199254740992', '8P', '9000000T', `1${'0'.repeat(40)}K`])(
    'refuses %s, which cannot be counted exactly',
    (text) => {
      expect(() => parseSize(text)).toThrow(/too large/);
    },
  );

  property.prop([fc.nat({ max: 4_000_000 }), fc.constantFrom('K', 'M', 'G')])(
    'counts in 1024s without rounding',
    (count, unit) => {
      const factor = 1024 ** ' KMG'.indexOf(unit);
      expect(parseSize(`${count}${unit}`)).toBe(count * factor);
      expect(parseSize(`${count}${unit}iB`)).toBe(count * factor);
    },
  );
});

describe('formatSize', () => {
  it.each([
    [0, '0 bytes'],
    [1, '1 byte'],
    [1023, '1023 bytes'],
    [1024, '1 KiB (1024 bytes)'],
    [10737418240, '10 GiB (10737418240 bytes)'],
    [1_100_000, '1.05 MiB (1100000 bytes)'],
    [10737418241, '10 GiB (10737418241 bytes)'],
  ])('shows %d as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  property.prop([fc.maxSafeNat()])('always holds the exact number', (bytes) => {
    expect(formatSize(bytes)).toMatch(new RegExp(`(^|\\()${bytes} bytes?\\)?$`));
  });
});

it('rounds where there is room for no more', () => {
  expect(formatRoundedSize(512)).toBe('512 B');
  expect(formatRoundedSize(3 * 1024 ** 3)).toBe('3 GiB');
});
