/** `--check-seconds N`, of the commands that run somebody's check. */
import { countFlag } from './flags.js';

/** Unless it is said otherwise. No default of the flag's: it goes with a check alone. */
export const CHECK_SECONDS = 30;

export const checkSecondsFlag = countFlag({
  dependsOn: ['check'],
  min: 1,
  max: 86_400,
  helpValue: 'N',
  description: `a command that takes longer hangs [default: ${CHECK_SECONDS}]`,
});
