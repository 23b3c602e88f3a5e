/** What was found as JUnit XML, as CI services read it: one test that ran, and one more that failed for each kind of failure. */
import { inMarkup } from './markup.js';

export interface JunitFailure {
  readonly kind: string;
  readonly message: string;
  readonly output: string;
  readonly replay: string;
}

/** `seconds`: what the run took; null: not known. */
export function junitOf(trace: string, failures: readonly JunitFailure[], seconds: number | null): string {
  const time = seconds === null ? '' : ` time="${seconds.toFixed(3)}"`;
  const suite = inMarkup(`power cuts of ${trace}`);
  const cases = failures.map(
    ({ kind, message, output, replay }) =>
      `  <testcase classname="${suite}" name="${inMarkup(kind)}"><failure type="${inMarkup(kind)}" message="${inMarkup(message)}">${inMarkup(`${output}\n${replay}`)}</failure></testcase>`,
  );
  if (failures.length === 0)
    cases.push(`  <testcase classname="${suite}" name="all states that were looked at"/>`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="${suite}" tests="${cases.length}" failures="${failures.length}" errors="0"${time}>
${cases.join('\n')}
</testsuite>
`;
}
