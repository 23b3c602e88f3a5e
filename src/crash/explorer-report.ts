/**
 * What a run of the explorer has seen, and what it has not. Nothing here is called exhaustive unless every subset of
 * the volatile writes was seen, at every cut of the kind that is spoken of.
 */
import { describeCoverage, type RolePair } from './coverage.js';
import type { Failure } from './explorer-failure.js';
import type { ProfileName } from './profiles.js';

/** Why a run ended before it had looked at all that it looks at. */
export type StoppedBy = 'states' | 'images' | 'seconds' | 'failures' | null;

export interface Report {
  readonly seed: number;
  readonly profile: ProfileName;
  readonly stoppedBy: StoppedBy;
  /** States that were looked at: (cut, kept writes, missing device), each time one came up. */
  readonly states: number;
  /** Different ones, each recovered and read once. */
  readonly images: number;
  /** States that equal one that was read before. Their obligations were checked all the same. */
  readonly equal: number;
  /** How often what was read was held against obligations. */
  readonly checks: number;
  /** Cuts of the trace after which something else may be left than after the one before. */
  readonly cuts: number;
  /** Of those: every subset of the volatile writes was seen. */
  readonly exhaustiveCuts: number;
  readonly isExhaustive: boolean;
  /** Powers of two: states by whole writes, states by what may tear, and those by whole writes that were not seen. */
  readonly reachableBits: number;
  readonly reachableTornBits: number;
  /** null: none is left. */
  readonly leftBits: number | null;
  /** Recoveries that were different from all before, and those of them that were cut in their midst. */
  readonly recoveries: number;
  readonly cutRecoveries: number;
  /** Pairs of roles that cuts may reorder, and whether a state was looked at in which they were. */
  readonly coverage: readonly RolePair[];
  readonly seconds: number;
  /** Of each invariant that something breaks: how many states were seen to, at all cuts. */
  readonly breaches: Readonly<Record<string, number>>;
  readonly failures: readonly Failure[];
}

/** A sum of powers of two that no number could hold. */
export class PowerSum {
  private exponent = Number.NEGATIVE_INFINITY;

  /** Adds 2^bits. */
  add(bits: number): void {
    const high = Math.max(bits, this.exponent);
    const low = Math.min(bits, this.exponent);
    this.exponent = low === Number.NEGATIVE_INFINITY ? high : high + Math.log2(1 + 2 ** (low - high));
  }

  /** The sum as a power of two; null: it is 0. */
  get bits(): number | null {
    return this.exponent === Number.NEGATIVE_INFINITY ? null : this.exponent;
  }
}

/** One paragraph for people. */
export function describeReport(report: Report): string {
  const { states, images, equal, seconds, stoppedBy, cuts, exhaustiveCuts } = report;
  const rate = Math.round(states / Math.max(seconds, 0.001));
  const left = report.leftBits === null ? 'none left' : `2^${report.leftBits.toFixed(1)} left`;
  const end = {
    states: 'stopped: the number of states that was asked for',
    images: 'stopped: the number of different states that was asked for',
    seconds: 'stopped: the time that was given',
    failures: 'stopped: something does not hold',
  };
  const coverage = describeCoverage(report.coverage);
  return [
    `${count(states)} states, ${count(images)} different, ${count(equal)} equal to one of them, ${count(report.checks)} checks`,
    `${count(exhaustiveCuts)} of ${count(cuts)} cuts exhaustive; reachable 2^${report.reachableBits.toFixed(1)} by whole writes (${left}), 2^${report.reachableTornBits.toFixed(1)} by what may tear`,
    `${count(report.cutRecoveries)} of ${count(report.recoveries)} different recoveries cut in their midst`,
    `${seconds.toFixed(1)} s, ${count(rate)} states/s, seed ${report.seed}, profile ${report.profile}`,
    ...(coverage === null ? [] : [coverage]),
    ...(stoppedBy === null ? [] : [end[stoppedBy]]),
    ...(report.isExhaustive ? ['exhaustive: every subset at every cut'] : []),
    ...report.failures.map((failure) => failure.text),
  ].join('\n');
}

function count(number: number): string {
  return number.toLocaleString('en-US');
}
