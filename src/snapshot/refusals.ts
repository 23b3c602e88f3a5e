/** Why a moment is not to be had, and what people are told of that. */
import { UserError } from '../errors.js';
import type { MomentRecord } from './layers/records.js';

export function taken(label: string, name: string): UserError {
  return new UserError('FILE_EXISTS', `${label} has a snapshot "${name}" already`, {
    hint: 'Choose another name, or delete it first: holdfast snapshot delete.',
  });
}

/** `which`: its name, or what else it is known by. */
export function missing(label: string, which: string): UserError {
  return new UserError('FILE_NOT_FOUND', `${label} has no snapshot ${which}`, {
    hint: 'holdfast snapshot list tells which it has',
  });
}

export function cannotBeUsed(label: string, { name, unusable }: MomentRecord): UserError {
  return new UserError('METADATA_DAMAGED', `snapshot ${name} cannot be used: ${unusable}`, {
    hint: 'Delete it: holdfast snapshot delete.',
    details: { image: label },
  });
}

export function isBeingRead({ name }: MomentRecord): UserError {
  return new UserError('IN_USE', `snapshot ${name} is being read`, {
    hint: 'Wait for the end of what reads it, or disconnect its clients.',
  });
}

/** Its container was given up before it had anything. */
export function isLost(label: string, name: string): UserError {
  return new UserError('IN_USE', `${label}: somebody writes where ${name} was to have its container`, {
    hint: 'Name a range that nobody uses, or a file: --container FILE.',
  });
}

/** Of a container that no list names any more. */
export function textOfLeftOver(label: string, cause: unknown): string {
  return `${label}: a container that nobody needs is left over: ${messageOf(cause)}`;
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
