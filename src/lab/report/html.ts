/** One page about what was found, that needs nothing else: no script, no picture, nothing from the network. Each fate is a word too, not a colour alone. */
import { inMarkup } from './markup.js';
import type { Timeline, TimelineRow } from './timeline.js';

export interface PageFailure {
  readonly kind: string;
  readonly message: string;
  readonly output: string;
  readonly marks: readonly string[];
  readonly cut: number;
  readonly timeline: Timeline;
  /** Of the recovery, where the cut was amid that. */
  readonly recovery: Timeline | null;
  /** How to have the state again. */
  readonly replay: string;
}

export interface Page {
  readonly trace: string;
  readonly command: readonly string[];
  readonly createdMs: number;
  readonly devices: readonly { readonly name: string; readonly size: number }[];
  readonly events: number;
  /** null: not known. */
  readonly summary: string | null;
  readonly failures: readonly PageFailure[];
}

const STYLE = `
body { font: 15px/1.45 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.2rem; margin-top: 2.5rem; border-top: 1px solid #d0d7de; padding-top: 1rem }
pre { background: #f6f8fa; padding: .75rem; overflow-x: auto; white-space: pre-wrap }
table { border-collapse: collapse; width: 100%; font-size: .85rem } td, th { text-align: left; padding: .15rem .5rem; border-bottom: 1px solid #eaeef2 }
td.n { text-align: right; font-variant-numeric: tabular-nums }
tr.lost td.f { background: #ffd7d5 } tr.kept td.f { background: #ccf2d4 } tr.torn td.f { background: #ffe2b3 } tr.open td.f { background: #eaeef2 }
tr.mark td { background: #ddf4ff } tr.cut td { background: #1b1f24; color: #fff; font-weight: 600 }
@media (prefers-color-scheme: dark) { body { color: #e6edf3; background: #0d1117 } pre { background: #161b22 } td, th { border-color: #30363d }
tr.lost td.f { background: #67060c } tr.kept td.f { background: #04260f } tr.torn td.f { background: #5a3600 } tr.open td.f { background: #30363d } tr.mark td { background: #051d4d } tr.cut td { background: #e6edf3; color: #0d1117 } }
`;

export function pageOf({ trace, command, createdMs, devices, events, summary, failures }: Page): string {
  const found =
    failures.length === 0
      ? '<p><strong>No failure is kept.</strong></p>'
      : failures.map((failure) => sectionOf(failure)).join('\n');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${inMarkup(trace)}: ${failures.length === 0 ? 'no failure' : `${failures.length} failing`}</title>
<style>${STYLE}</style></head><body>
<h1>What power cuts leave of ${inMarkup(trace)}</h1>
<p>Recorded ${new Date(createdMs).toISOString()}: <code>${inMarkup(command.join(' '))}</code>; ${events} events on
${devices.map(({ name, size }) => `<code>${inMarkup(name)}</code> (${size} bytes)`).join(', ')}.</p>
${summary === null ? '' : `<pre>${inMarkup(summary)}</pre>`}
${found}
</body></html>
`;
}

function sectionOf(failure: PageFailure): string {
  const { kind, message, output, marks, cut, timeline, recovery, replay } = failure;
  const last = marks.at(-1);
  return `<h2>${inMarkup(kind)}</h2>
<p>${inMarkup(message)}. The power was cut before event ${cut}${last === undefined ? '' : `, after the mark “${inMarkup(last)}” (${marks.length} were set)`}.</p>
${output === '' ? '' : `<pre>${inMarkup(output)}</pre>`}
<p>To have the state: <code>${inMarkup(replay)}</code></p>
${tableOf(timeline, 'The last that was asked for before the cut')}
${recovery === null ? '' : tableOf(recovery, 'Then, amid the recovery of that')}`;
}

function tableOf({ rows, left }: Timeline, caption: string): string {
  const before = left === 0 ? '' : `<tr><td colspan="8">${left} before</td></tr>`;
  return `<h3>${caption}</h3>
<table><thead><tr><th>event</th><th>ms</th><th>disk</th><th>role</th><th>what</th><th>offset</th><th>bytes</th><th>what became of it</th></tr></thead>
<tbody>${before}${rows.map(rowOf).join('\n')}
<tr class="cut"><td colspan="8">the power is cut</td></tr></tbody></table>`;
}

function rowOf(row: TimelineRow): string {
  const head = `<td class="n">${row.event}</td><td class="n">${row.microseconds === null ? '' : (row.microseconds / 1000).toFixed(1)}</td>`;
  if (row.kind === 'mark')
    return `<tr class="mark">${head}<td colspan="6">mark: ${inMarkup(row.name)}</td></tr>`;
  const { operation, device, role, fate } = row;
  const { kind, offset, length, fua } = operation;
  const place =
    kind === 'flush' ? '<td></td><td></td>' : `<td class="n">${offset}</td><td class="n">${length}</td>`;
  return `<tr class="${fate}">${head}<td>${inMarkup(device)}</td><td>${inMarkup(role ?? '')}</td><td>#${operation.number} ${kind}${fua ? ' fua' : ''}</td>${place}<td class="f">${fate}</td></tr>`;
}
