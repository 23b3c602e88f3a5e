/** What clients of a disk are owed: which contents a sector may have, by what they asked for and were told. */
import { expect, it } from 'vitest';
import { OwedDisk, sectorsAsked } from '../../../src/lab/volume/owed.js';
import { SECTOR, Told } from '../../support/lab/told-requests.js';

it('what was written may be there or not, until a flush that was asked for after it was answered is', () => {
  const told = new Told();
  const one = told.write(1);
  const two = told.write(2);
  expect([told.allowed(0), told.allowed(one), told.allowed(two)]).toEqual([[0], [0, 1], [0, 1, 2]]);
  const flush = told.ask('flush');
  const three = told.write(3);
  const flushed = told.answer(flush);
  expect([told.allowed(three), told.allowed(flushed)]).toEqual([
    [0, 1, 2, 3],
    [2, 3],
  ]);
  expect(told.allowed(told.done('flush'))).toEqual([3]);
});

it('a flush is no promise of what was not answered when it was asked for', () => {
  const told = new Told();
  const write = told.ask('write', 0, SECTOR, 1);
  const flush = told.ask('flush');
  told.answer(write);
  expect(told.allowed(told.answer(flush))).toEqual([0, 1]);
});

it('with fua the answer is the promise, of that one alone', () => {
  const told = new Told();
  told.write(1);
  told.write(2, { sector: 1 });
  const end = told.write(3, { fua: true });
  expect([told.allowed(end), told.allowed(end, 1)]).toEqual([[3], [0, 2]]);
});

it('of two that were under way together either may be the last', () => {
  const told = new Told();
  const [one, two] = [told.ask('write', 0, SECTOR, 1), told.ask('write', 0, SECTOR, 2)];
  told.answer(two);
  told.answer(one);
  expect(told.allowed(told.done('flush'))).toEqual([1, 2]);
});

it('of what waits for a second side the answer is the promise, without a flush', () => {
  const told = new Told();
  told.write(1);
  const end = told.write(2);
  const last = told.write(3);
  const owed = new OwedDisk(told.requests, 0, () => new Uint8Array(SECTOR));
  const allowed = (count: number) => [0, 1, 2, 3].filter((content) => owed.allowsAnswered(0, content, count));
  expect([allowed(1), allowed(end), allowed(end + 1)]).toEqual([[0, 1], [2], [2, 3]]);
  expect(allowed(last)).toEqual([3]);
});

it('around what is less than a sector is what was there', () => {
  const told = new Told();
  told.done('write', 100, 700, 5, true);
  const owed = new OwedDisk(told.requests, 0, () => new Uint8Array(SECTOR).fill(9));
  const [first, second] = [new Uint8Array(SECTOR).fill(9), new Uint8Array(SECTOR).fill(9)];
  first.fill(5, 100);
  second.fill(5, 0, 288);
  expect([...sectorsAsked(told.requests, 0)]).toEqual([0, 1]);
  expect(owed.sectors.map(({ contents }) => [contents.find(first), contents.find(second)])).toEqual([
    [1, -1],
    [-1, 1],
  ]);
  expect([owed.allows(0, 1, 2), owed.allows(0, 0, 2)]).toEqual([true, false]);
});

it('zeroes are as good as a write of them; what was trimmed may be anything that it was', () => {
  const told = new Told();
  told.write(1, { fua: true });
  told.done('write-zeroes', 0, SECTOR);
  expect(told.allowed(told.done('flush'))).toEqual([0]);
  told.done('trim', 0, SECTOR);
  expect(told.allowed(told.done('flush'))).toEqual([0, 1]);
});

it('what was trimmed is nothing that was never there, and nothing that was asked for after it', () => {
  const told = new Told();
  told.write(1, { fua: true });
  const trimmed = told.done('trim', 0, SECTOR);
  told.write(2);
  const owed = new OwedDisk(told.requests, 0, () => new Uint8Array(SECTOR).fill(9));
  const { contents } = owed.sectors[0]!;
  const isAllowed = (value: number) =>
    owed.allows(0, contents.find(new Uint8Array(SECTOR).fill(value)), trimmed);
  expect([9, 1, 0, 2, 7].map(isAllowed)).toEqual([true, true, true, false, false]);
});

it('around what is written in part after a trim is what was there, or zeroes', () => {
  const told = new Told();
  told.write(1, { fua: true });
  told.done('trim', 0, SECTOR);
  const end = told.done('write', 0, 100, 5, true);
  const owed = new OwedDisk(told.requests, 0, () => new Uint8Array(SECTOR));
  const { contents } = owed.sectors[0]!;
  const isAllowed = (around: number) =>
    owed.allows(0, contents.find(new Uint8Array(SECTOR).fill(around).fill(5, 0, 100)), end);
  expect([1, 0, 2].map(isAllowed)).toEqual([true, true, false]);
});

it('more than can be held to what is owed is refused', () => {
  const request = {
    number: 1,
    device: 0,
    kind: 'trim' as const,
    offset: 0,
    length: 2 ** 31,
    bytes: null,
    fua: false,
  };
  expect(() => sectorsAsked([{ is: 'asked', at: 0, request }], 0)).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED' }),
  );
});
