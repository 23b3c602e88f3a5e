/** "Did you mean": near words are found, far ones are not offered. */
import { fc, test as property } from '@fast-check/vitest';
import { describe, expect, it } from 'vitest';
import { didYouMean, editDistance, nearest } from '../../src/cli/suggest.js';
import { unknownCommand } from '../../src/cli/unknown-command.js';

const COMMANDS = ['create', 'status', 'examine', 'read', 'write', 'recover', 'member:add', 'member:remove'];

describe('editDistance', () => {
  it.each([
    ['', '', 0],
    ['abc', '', 3],
    ['', 'abc', 3],
    ['create', 'creat', 1],
    ['chunck', 'chunk', 1],
    ['raed', 'read', 1],
    ['kitten', 'sitting', 3],
  ])('from "%s" to "%s" it is %d', (from, to, distance) => {
    expect(editDistance(from, to)).toBe(distance);
  });

  property.prop([fc.string({ maxLength: 12 }), fc.string({ maxLength: 12 })])(
    'is the same both ways',
    (a, b) => {
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, a)).toBe(0);
    },
  );
});

describe('nearest', () => {
  it('finds one edit away', () => expect(nearest('creat', COMMANDS)).toEqual(['create']));
  it('finds what was only begun', () => expect(nearest('stat', COMMANDS)).toEqual(['status']));
  it('does not care for capitals', () => expect(nearest('READ', COMMANDS)).toEqual(['read']));
  it('offers nothing that is far', () => expect(nearest('defragment', COMMANDS)).toEqual([]));
  it('offers all that are equally near', () =>
    expect(nearest('rea', ['read', 'real'])).toEqual(['read', 'real']));
  it('says it as a question', () => {
    expect(didYouMean('raed', COMMANDS)).toBe('did you mean "read"?');
    expect(didYouMean('defragment', COMMANDS)).toBeUndefined();
  });
});

describe('unknownCommand', () => {
  const hintOf = (id: string) => unknownCommand(id, { commands: COMMANDS }).hint;

  it('names a near command', () => expect(hintOf('creat')).toBe('did you mean "holdfast create"?'));
  it('looks past the arguments', () =>
    expect(hintOf('statu:/dir:x')).toBe('did you mean "holdfast status"?'));
  it('names a near command of the topic', () => {
    const error = unknownCommand('member:ad:VOLUME', { commands: COMMANDS });
    expect(error.typed).toBe('member ad');
    expect(error.hint).toBe('did you mean "holdfast member add"?');
  });
  it('lists the topic where nothing is near', () => {
    expect(hintOf('member:explode')).toBe('"holdfast member" has: add, remove');
  });
  it('names a near topic', () => expect(hintOf('mmeber:add')).toBe('did you mean "holdfast member"?'));
  it('points at the help where nothing is near', () => expect(hintOf('xyzzy')).toBe('see holdfast --help'));
});
