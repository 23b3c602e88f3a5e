/** What is checked has to hold where no power is cut: else what is said of cuts means nothing. */
import type { Breach } from '../../crash/explorer-failure.js';
import type { Subject } from '../../crash/explorer-subject.js';
import { DEFAULT_PROFILE, PowerLoss, PROFILES } from '../../crash/profiles.js';
import { StateDevice } from '../../crash/state-device.js';
import { CutWalk } from '../../crash/states.js';
import { KeptWrites } from '../../crash/states-kept.js';
import type { Trace } from '../../crash/trace.js';
import { UserError } from '../../errors.js';

/** Throws USAGE with this hint where it does not. */
export async function assertHoldsUncut<Reading, Obligations>(
  trace: Trace,
  subject: Subject<Reading, Obligations>,
  hint: string,
): Promise<void> {
  const breach = await breachUncut(trace, subject);
  if (breach !== null) throw failsUncut(breach, hint);
}

/** null: it holds. */
export async function breachUncut<Reading, Obligations>(
  trace: Trace,
  subject: Subject<Reading, Obligations>,
): Promise<Breach | null> {
  const end = new CutWalk(trace, subject.initial, new PowerLoss(PROFILES[DEFAULT_PROFILE]));
  end.advance(trace.events.length);
  const kept = new KeptWrites(end);
  for (let write = 0; write < kept.count; write++) kept.keep(write, true);
  const state = {
    ...{ missing: null, isSecondCut: false },
    devices: () =>
      kept
        .contents()
        .map(
          (content, at) => new StateDevice(content, { ...trace.devices[at]!, name: trace.devices[at]!.name }),
        ),
  };
  const { reading } = await subject.evaluate(state);
  return subject.check(reading, subject.obligations(trace.events.length), state);
}

function failsUncut({ message, output }: Breach, hint: string): UserError {
  return new UserError('USAGE', `with all that was written there, and no power cut: ${message}`, {
    hint,
    details: { output: output ?? '' },
  });
}
