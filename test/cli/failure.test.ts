/** Which error ends in which exit code, and what is told of it. */
import { describe, expect, it } from 'vitest';
import { exitCodeOf, type ReportedCode } from '../../src/cli/exit-codes.js';
import { toFailure, unlessInterrupted } from '../../src/cli/failure.js';
import { envelopeJson, wantsJson } from '../../src/cli/output.js';
import { printable, printableInJson } from '../../src/cli/printable.js';
import { DeviceError } from '../../src/device/contract.js';
import { UserError } from '../../src/errors.js';

describe('exit codes', () => {
  // Written out here on purpose: these numbers are promised, and the table in src/ may not move them.
  it.each<[ReportedCode, number]>([
    ['USAGE', 2],
    ['CONFIRMATION_REQUIRED', 2],
    ['VOLUME_NOT_FOUND', 10],
    ['IN_USE', 11],
    ['PERMISSION_DENIED', 1],
    ['NOT_BLANK', 1],
    ['IO_ERROR', 1],
    ['NO_SPACE', 1],
    ['OUT_OF_RANGE', 1],
    ['NOT_ASSEMBLED', 1],
    ['UNSUPPORTED', 1],
    ['REFUSED', 1],
    ['DATA_UNAVAILABLE', 1],
    ['METADATA_DAMAGED', 1],
    ['INTERRUPTED', 130],
    ['INTERNAL', 1],
  ])('%s ends with %d', (code, exitCode) => {
    expect(exitCodeOf(code)).toBe(exitCode);
  });
});

describe('toFailure', () => {
  it("keeps a user's error as it is", () => {
    const fault = { device: 'a.img', operation: 'read', offset: 4096, length: 512 } as const;
    const failure = toFailure(new DeviceError('IO_ERROR', 'a.img: cannot read', fault, 'look at the cable'));
    expect(failure).toEqual({
      code: 'IO_ERROR',
      message: 'a.img: cannot read',
      hint: 'look at the cable',
      details: { image: 'a.img', offsetBytes: 4096, lengthBytes: 512 },
    });
  });

  it('calls all else a fault of ours, with the stack of every cause', () => {
    const failure = toFailure(new TypeError('no', { cause: new Error('the first cause') }));
    expect(failure.code).toBe('INTERNAL');
    expect(failure.hint).toMatch(/please report/);
    expect(failure.details.stack).toMatch(/TypeError: no[\s\S]*Caused by: Error: the first cause/);
  });

  it('takes even what is not an error', () => {
    expect(toFailure('a string').message).toContain('a string');
  });
});

describe('unlessInterrupted', () => {
  const interruption = new UserError('INTERRUPTED', 'interrupted');
  const abort = new DOMException('The operation was aborted', 'AbortError');

  it('says that it was interrupted where work was cut off by that', () => {
    expect(unlessInterrupted(abort, AbortSignal.abort(interruption))).toBe(interruption);
  });
  it('keeps other errors, though the signal stands: they may tell of lost data', () => {
    const broken = new UserError('IO_ERROR', 'the flush failed');
    const fault = new TypeError('no');
    expect(unlessInterrupted(broken, AbortSignal.abort(interruption))).toBe(broken);
    expect(unlessInterrupted(fault, AbortSignal.abort(interruption))).toBe(fault);
  });
  it('keeps an abort that no signal explains', () => {
    expect(unlessInterrupted(abort, new AbortController().signal)).toBe(abort);
  });
});

describe('the envelope', () => {
  it('is one line with the format version first', () => {
    const envelope = { command: 'member add', exitCode: 0, warnings: ['w\nw'] };
    expect(envelopeJson(envelope, { result: { a: 1 } })).toBe(
      '{"formatVersion":1,"command":"member add","exitCode":0,"result":{"a":1},"warnings":["w\\nw"]}',
    );
  });

  it('has exact bigints: numbers where they are exact, else digits', () => {
    const result = { events: 18n, stamp: 2n ** 64n - 1n, below: -(2n ** 60n) };
    const json: { result: unknown } = JSON.parse(
      envelopeJson({ command: '', exitCode: 0, warnings: [] }, { result }),
    );
    expect(json.result).toEqual({ events: 18, stamp: '18446744073709551615', below: '-1152921504606846976' });
  });

  it('is asked for by --json, but not by one that belongs to a command behind --', () => {
    expect(wantsJson(['status', '--json'])).toBe(true);
    expect(wantsJson(['status'])).toBe(false);
    expect(wantsJson(['crash', 'inject', '--', 'write', '--json'])).toBe(false);
    expect(wantsJson(['crash', 'inject', '--json', '--', 'write'])).toBe(true);
  });
});

it('shows control characters of foreign names instead of obeying them', () => {
  expect(printable('a\u001b[2Jb\rc\u009bd\ne')).toBe('a\\x1b[2Jb\\x0dc\\x9bd\ne');
  const json = JSON.stringify({ name: 'a\u001b\u007f\u009b\n' });
  expect(printableInJson(json)).toBe('{"name":"a\\u001b\\u007f\\u009b\\n"}');
  expect(JSON.parse(printableInJson(json))).toEqual(JSON.parse(json));
});
