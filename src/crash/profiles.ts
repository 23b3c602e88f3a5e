/**
 * How a device loses power: what of a write is atomic, what a torn write leaves, and what counts as safe. The rules
 * that hold whatever the profile are in power-cut.ts (docs/crash-model.md).
 */

export type ProfileName = 'sector-512' | 'sector-4096' | 'atomic-write' | 'garbage-torn' | 'kill-9';

export interface CrashProfile {
  readonly name: ProfileName;
  /** For people, after the name. */
  readonly description: string;
  /** Writes tear at multiples of this many bytes of the device; infinite: they never do. A multiple of 512. */
  readonly atomBytes: number;
  /** One sector of a torn write holds noise. */
  readonly hasNoise: boolean;
  /** What completed survives, flushed or not: the process is gone, and the operating system is not. */
  readonly keepsCompleted: boolean;
}

const PLAIN = { hasNoise: false, keepsCompleted: false };

export const PROFILES: Readonly<Record<ProfileName, CrashProfile>> = {
  'sector-512': {
    ...PLAIN,
    name: 'sector-512',
    description: 'sectors of 512 bytes are atomic, longer writes tear between them',
    atomBytes: 512,
  },
  'sector-4096': {
    ...PLAIN,
    name: 'sector-4096',
    description: 'writes tear only at multiples of 4096 bytes of the device',
    atomBytes: 4096,
  },
  'atomic-write': {
    ...PLAIN,
    name: 'atomic-write',
    description: 'no write tears: each is there as a whole or not at all',
    atomBytes: Number.POSITIVE_INFINITY,
  },
  'garbage-torn': {
    ...PLAIN,
    name: 'garbage-torn',
    description: 'as sector-512, and one sector of a torn write holds noise',
    atomBytes: 512,
    hasNoise: true,
  },
  'kill-9': {
    ...PLAIN,
    name: 'kill-9',
    description: 'the process alone is gone: what completed stays, what was in flight tears at 4096 bytes',
    atomBytes: 4096,
    keepsCompleted: true,
  },
};

/** How each device of a trace loses power: all by one profile, but for those that are spared. */
export class PowerLoss {
  constructor(
    readonly profile: CrashProfile,
    /** Of these, by their numbers, the process alone is gone: they are in another machine, whose power stays on. */
    readonly spared: ReadonlySet<number> = new Set(),
  ) {}

  of(device: number): CrashProfile {
    return this.spared.has(device) ? PROFILES['kill-9'] : this.profile;
  }
}

export const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];

export const DEFAULT_PROFILE: ProfileName = 'sector-512';
