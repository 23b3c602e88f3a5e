/** What was found as JUnit XML, as CI services read it: one test that ran, and one more that failed for each kind of failure. */
import type { Figures } from './found.js';
import { inMarkup } from './markup.js';

export interface JunitFailure {
  readonly kind: string;
  readonly message: string;
  readonly output: string;
  readonly replay: string;
}

export interface JunitRun {
  readonly seconds: number;
  /** As properties of the suite. */
  readonly figures?: Figures | undefined;
}

/** `run`: how far it came; null: not known. */
export function junitOf(trace: string, failures: readonly JunitFailure[], run: JunitRun | null): string {
  const time = run === null ? '' : ` time="${run.seconds.toFixed(3)}"`;
  const suite = inMarkup(`power cuts of ${trace}`);
  const cases = failures.map(
    ({ kind, message, output, replay }) =>
      `  <testcase classname="${suite}" name="${inMarkup(kind)}"><failure type="${inMarkup(kind)}" message="${inMarkup(message)}">${inMarkup(`${output}\n${replay}`)}</failure></testcase>`,
  );
  if (failures.length === 0)
    cases.push(`  <testcase classname="${suite}" name="all states that were looked at"/>`);
  return `<?xml version="1.0" encoding="UTF-8"?>
<testsuite name="${suite}" tests="${cases.length}" failures="${failures.length}" errors="0"${time}>
${[...propertiesOf(run?.figures), ...cases].join('\n')}
</testsuite>
`;
}

/** Before the cases, as the schema of JUnit's has it. */
function propertiesOf(figures: Figures | undefined): string[] {
  if (figures === undefined) return [];
  const each = Object.entries(figures).map(
    ([name, value]) => `    <property name="${name}" value="${inMarkup(`${value}`)}"/>`,
  );
  return ['  <properties>', ...each, '  </properties>'];
}
