/** What was found, as a page and as JUnit XML. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { inMarkup } from '../../src/lab/report/markup.js';
import { recordedStore } from '../support/lab/recorded-store.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';

async function reported(flushesBlocks: boolean, say = '') {
  const { trace, check, folder } = await recordedStore({ letters: 'AB', flushesBlocks });
  const found = join(folder, 'found');
  const flags = [
    '--check',
    `${check} || { c=$?; printf '%s' '${say}'; exit $c; }`,
    '--profile',
    'atomic-write',
  ];
  await runHoldfast(['crash', 'explore', trace, ...flags, '--failures', found]);
  const [html, junit] = [join(folder, 'report.html'), join(folder, 'report.xml')];
  const shown = ['--html', html, '--junit', junit, '--role', 'letter:0+512'];
  const result = await ok('crash', 'report', trace, '--failures', found, ...shown);
  return { trace, found, result, page: await readFile(html, 'utf8'), xml: await readFile(junit, 'utf8') };
}

it('a failure has its own part, with what became of each write', async () => {
  const { result, page, xml } = await reported(false, '<script>alert("x & y")</script>\u0007');
  expect(result).toMatchObject({ failures: ['check exit 3'] });
  expect(page).toContain('<h2>check exit 3</h2>');
  expect(page).not.toContain('<script');
  expect(page).toContain('&lt;script&gt;alert(&quot;x &amp; y&quot;)&lt;/script&gt;\ufffd');
  // The letter alone is there.
  const fates = (fate: string) => page.match(new RegExp(`<tr class="${fate}">`, 'g'))?.length ?? 0;
  expect([fates('kept'), fates('lost') > 0]).toEqual([1, true]);
  expect(page).toContain('class="cut"');
  // Its three blocks and itself, by what they were called.
  expect(page).toContain('<td>letter</td>');
  expect(page).toContain('<td>elsewhere</td>');
  expect(page).toMatch(/reordered: \d+ of \d+ pairs of roles/);
  expect(page).not.toMatch(/(src|href)=/);
  expect(xml).toMatch(
    /^<\?xml version="1.0" encoding="UTF-8"\?>\n<testsuite [^<>]* tests="1" failures="1" errors="0" time="\d+\.\d{3}">/,
  );
  expect(xml).toContain('<failure type="check exit 3" message="the check command ended with exit code 3: ');
  expect(balanced(xml)).toBe(true);
});

it('CI services are told how far it came, as the page tells people', async () => {
  const { found, trace, page, xml } = await reported(false);
  const figures = Object.fromEntries(
    [...xml.matchAll(/<property name="(\w+)" value="([^"]*)"\/>/g)].map(([, name, value]) => [name, value]),
  );
  const { states, images, cuts, exhaustiveCuts, rolePairs, reorderedRolePairs, seed, profile } = figures;
  expect(page).toContain(`${states} states, ${images} different,`);
  expect(page).toContain(`${exhaustiveCuts} of ${cuts} cuts exhaustive;`);
  expect(page).toContain(`reordered: ${reorderedRolePairs} of ${rolePairs} pairs of roles`);
  expect(page).toContain(`seed ${seed}, profile ${profile}`);
  expect(xml).toMatch(/<testsuite [^<>]*>\s*<properties>/);
  // What an older run has kept has no figures, and is shown all the same.
  const summary = join(found, 'summary.json');
  const { figures: _, ...older } = JSON.parse(await readFile(summary, 'utf8')) as Record<string, unknown>;
  await writeFile(summary, JSON.stringify(older));
  await ok('crash', 'report', trace, '--failures', found, '--junit', `${trace}.xml`);
  expect(await readFile(`${trace}.xml`, 'utf8')).not.toContain('propert');
});

it('where nothing failed that is said', async () => {
  const { result, page, xml } = await reported(true);
  expect(result).toMatchObject({ failures: [] });
  expect(page).toContain('No failure is kept.');
  expect(page).toContain('exhaustive: every subset at every cut');
  expect(xml).toContain('tests="1" failures="0"');
  expect(balanced(xml)).toBe(true);
});

it('what is of another trace, or nothing at all, is refused', async () => {
  const { trace, found } = await reported(false);
  const other = await recordedStore({ letters: 'C' });
  const refused = await runJson([
    'crash',
    'report',
    other.trace,
    '--failures',
    found,
    '--html',
    `${trace}.html`,
  ]);
  expect([refused.exitCode, refused.json.error]).toMatchObject([1, { code: 'REFUSED' }]);
  const nothing = await runJson(['crash', 'report', trace, '--failures', found]);
  expect([nothing.exitCode, nothing.json.error]).toMatchObject([2, { code: 'USAGE' }]);
  await writeFile(join(found, 'check-exit-3.json'), '{"formatVersion": 1}');
  const damaged = await runJson(['crash', 'report', trace, '--failures', found, '--html', `${trace}.html`]);
  expect([damaged.exitCode, damaged.json.error]).toMatchObject([1, { code: 'METADATA_DAMAGED' }]);
});

it('text is text in markup, whatever is in it', () => {
  expect(inMarkup('a<b>&"\'\u0000\ud800é\n')).toBe('a&lt;b&gt;&amp;&quot;&apos;\ufffd\ufffdé\n');
});

/** Each element that begins ends. */
function balanced(xml: string): boolean {
  const open: string[] = [];
  for (const [, end, name, isEmpty] of xml.matchAll(/<(\/?)([a-z]+)[^<>]*?(\/?)>/g)) {
    if (end === '/') {
      if (open.pop() !== name) return false;
    } else if (isEmpty !== '/') open.push(name!);
  }
  return open.length === 0;
}
