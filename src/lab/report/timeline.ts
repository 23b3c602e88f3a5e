/** What became of each operation before a cut: what a page about a failure shows. */
import type { RoleOf } from '../../crash/coverage.js';
import type { StatePoint } from '../../crash/explorer-failure.js';
import type { Operation, Trace } from '../../crash/trace.js';

/** `durable`: a flush, or FUA, or a later write of the same place that is, has made it so. `open`: a flush that was not answered. */
export type Fate = 'durable' | 'kept' | 'lost' | 'torn' | 'answered' | 'open';

export type TimelineRow =
  | {
      readonly kind: 'mark';
      readonly event: number;
      readonly microseconds: number | null;
      readonly name: string;
    }
  | {
      readonly kind: 'operation';
      /** Where it was submitted. */
      readonly event: number;
      readonly microseconds: number | null;
      readonly operation: Operation;
      readonly device: string;
      /** null: nothing is known but the device. */
      readonly role: string | null;
      readonly fate: Fate;
    };

export interface Timeline {
  /** The last ones before the cut, from the oldest on. */
  readonly rows: readonly TimelineRow[];
  /** That come before these, and are not shown. */
  readonly left: number;
}

/** `most`: rows that are shown; `roleOf`: of writes. */
export function timelineOf(
  trace: Trace & { readonly times?: readonly number[] },
  point: Pick<StatePoint, 'cut' | 'kept' | 'dropped'> & { readonly torn: readonly { operation: number }[] },
  { most, roleOf }: { readonly most: number; readonly roleOf?: RoleOf | undefined },
): Timeline {
  const before = trace.events.slice(0, point.cut);
  const completed = new Set(before.flatMap((event) => (event.kind === 'complete' ? [event.operation] : [])));
  const torn = new Set(point.torn.map(({ operation }) => operation));
  const [kept, dropped] = [new Set(point.kept), new Set(point.dropped)];
  const fateOf = (operation: Operation): Fate => {
    const { number, kind } = operation;
    if (kind === 'flush') return completed.has(operation) ? 'answered' : 'open';
    if (torn.has(number)) return 'torn';
    if (kept.has(number)) return 'kept';
    return dropped.has(number) ? 'lost' : 'durable';
  };
  const rows = before.flatMap((each, event): TimelineRow[] => {
    const microseconds = trace.times?.[event] ?? null;
    if (each.kind === 'complete') return [];
    if (each.kind === 'mark') return [{ kind: 'mark', event, microseconds, name: each.mark.name }];
    const { operation } = each;
    const device = trace.devices[operation.device]!.name;
    const role = operation.kind === 'flush' ? null : (roleOf?.(operation) ?? null);
    return [{ kind: 'operation', event, microseconds, operation, device, role, fate: fateOf(operation) }];
  });
  return { rows: rows.slice(-most), left: Math.max(0, rows.length - most) };
}
