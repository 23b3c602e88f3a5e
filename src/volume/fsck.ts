/**
 * `holdfast fsck`: looks, repairs what is chosen, and looks again, until nothing is left that is chosen and was not
 * tried. A finding counts as repaired only where the last look does not find it any more.
 *
 * What a repair is going to overwrite is durable in the undo file first, whoever overwrites it: it stands between
 * every image that is opened for writing and its user (device/open-image.ts).
 */
import { stat } from 'node:fs/promises';
import { type Finding, keyOf, REPAIR_NAMES, type RepairName } from '../check/findings.js';
import { findRestorable } from '../check/restorable.js';
import { UndoImages } from '../check/undo/undo-device.js';
import { UndoFile, undoFileExists } from '../check/undo/undo-file.js';
import { interpose } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { superblockBytes } from '../raid/md/superblock.js';
import type { SweepOptions } from '../raid/sweep.js';
import { thenClose } from './closing.js';
import { FILE_REPAIRS } from './fsck-files.js';
import { type Looked, lookAt } from './fsck-look.js';
import { undonePaths } from './fsck-revert.js';
import { type ChosenRepair, ScrubLedger, type ScrubScope } from './fsck-scrub.js';
import { judgeImages, lookAndJudge, openImages, pathsInUse } from './images.js';
import { locateVolume } from './locate.js';
import { finishRebuilds } from './members.js';
import { arrayOf } from './model.js';
import { openVolume } from './volume.js';

type Sweep = Omit<SweepOptions, 'checkpoint'>;

export interface FsckOptions {
  readonly record?: string | undefined;
  /** Read all data and check parity too. */
  readonly scrub: boolean;
  /** Whether this repair is to be done, which would make these findings go away; null: look only. */
  readonly choose: ((repair: RepairName, findings: readonly Finding[]) => Promise<boolean>) | null;
  /** What is overwritten is kept in this file, which is made. */
  readonly undo?: string | undefined;
  readonly warn: (message: string) => void;
  /** Runs long work, with progress and Ctrl-C. */
  readonly sweeping: <R>(label: string, work: (sweep: Sweep) => Promise<R>) => Promise<R>;
}

export interface ReportedFinding extends Finding {
  readonly repaired: boolean;
}

export interface FsckReport {
  readonly findings: readonly ReportedFinding[];
  /** What was done, in order. */
  readonly repairs: readonly RepairName[];
  readonly undo: { readonly file: string; readonly sizeBytes: number; readonly entries: number } | null;
  /** A repair was stopped: what it did stays. */
  readonly isInterrupted: boolean;
}

/** What only reading all data finds: where that was not done again, it is not known to be gone. */
const FOUND_BY_SCRUB: readonly string[] = ['PARITY_MISMATCH', 'IMAGE_UNREADABLE'];

/** What only an old record tells: where a repair has written a new one, nothing is better for it. */
const NEVER_REPAIRED: readonly string[] = ['DOUBT_FORGOTTEN'];

export async function fsckVolume(args: readonly string[], options: FsckOptions): Promise<FsckReport> {
  if (options.undo !== undefined) await assertUndoFree(options.undo);
  const run = new FsckRun(args, options);
  try {
    return await run.run();
  } finally {
    await run.close();
  }
}

async function assertUndoFree(path: string): Promise<void> {
  if ((await stat(path).catch(() => null)) !== null) throw undoFileExists(path);
}

class FsckRun {
  private readonly seen = new Map<string, Finding>();
  private readonly tried = new Set<string>();
  private readonly repairs: RepairName[] = [];
  private hasBegun = false;
  private undo: UndoFile | null = null;
  private undoImages: UndoImages | null = null;
  private readonly scrubs: ScrubLedger;

  constructor(
    private readonly args: readonly string[],
    private readonly options: FsckOptions,
  ) {
    this.scrubs = new ScrubLedger(options.scrub);
  }

  async close(): Promise<void> {
    await this.undo?.close();
  }

  async run(): Promise<FsckReport> {
    let looked = await this.look(this.scrubs.scope());
    try {
      for (;;) {
        const chosen = await this.choose(looked.findings);
        if (chosen.length === 0) return this.report(looked.findings, false);
        this.hasBegun = true;
        this.scrubs.repairing(looked, chosen);
        await this.repair(looked, chosen);
        looked = await this.look(this.scrubs.scope());
      }
    } catch (error) {
      // Ctrl-C: what was repaired stays, and is told.
      if (this.hasBegun && error instanceof UserError && error.code === 'INTERRUPTED')
        return this.report((await this.look([])).findings, true);
      throw await this.withRepairs(error);
    }
  }

  /** What failed, and what had been repaired by then: that stays, and is told. */
  private async withRepairs(error: unknown): Promise<unknown> {
    const { warn } = this.options;
    const { repairs } = this;
    if (repairs.length === 0) return error;
    warn(`before it failed these repairs were done, and they stay: ${repairs.join(', ')}`);
    if (!(error instanceof UserError)) return error;
    const findings = await this.look([]).then(
      (looked) => this.report(looked.findings, true).findings,
      (looking: unknown) => {
        if (!(looking instanceof UserError)) throw looking;
        warn(`what is left could not be looked at: ${looking.message}`);
        return [];
      },
    );
    const { code, message, hint, details } = error;
    return new UserError(code, message, {
      ...(hint === undefined ? {} : { hint }),
      details: { ...details, repairs, findings },
      cause: error,
    });
  }

  private async look(scope: ScrubScope): Promise<Looked> {
    const { record, warn, sweeping } = this.options;
    const rows = scope === 'all' ? {} : { rows: scope };
    const looked =
      scope === 'all' || scope.length > 0
        ? await sweeping('scrub', (sweep) =>
            lookAt(this.args, { record, warn, scrub: { ...sweep, ...rows } }),
          )
        : await lookAt(this.args, { record, warn, scrub: null });
    const findings = this.scrubs.after(looked, scope);
    for (const found of findings) this.seen.set(keyOf(found), found);
    return { ...looked, findings };
  }

  /** Each repair once, and of each image once: what did not help will not help again. */
  private async choose(findings: readonly Finding[]): Promise<ChosenRepair[]> {
    const { choose } = this.options;
    if (choose === null) return [];
    const chosen: ChosenRepair[] = [];
    for (const name of REPAIR_NAMES) {
      for (const [key, group] of groupsOf(name, findings)) {
        if (this.tried.has(key)) continue;
        this.tried.add(key);
        if (await choose(name, group)) chosen.push({ name, findings: group });
        // Whoever writes to a dirty array recovers it first: without that yes nothing else can be done to it.
        else if (name === 'recover') return chosen;
      }
    }
    return chosen;
  }

  private async repair(looked: Looked, chosen: readonly ChosenRepair[]): Promise<void> {
    const remove = await this.keepOld(looked);
    try {
      await this.restoreSuperblocks(chosen);
      await this.repairArray(chosen);
    } catch (error) {
      throw this.undo?.failure ?? error;
    } finally {
      remove();
    }
    if (this.undo?.failure) throw this.undo.failure;
  }

  /** From here on what is overwritten is kept. Call what it returns when nothing more is to be. */
  private async keepOld({ uuid, version }: Looked): Promise<() => void> {
    const { undo, record } = this.options;
    if (undo === undefined || uuid === null) return () => undefined;
    const kept = new Set(undonePaths(await locateVolume(this.args), record));
    this.undo ??= await UndoFile.create(undo, uuid);
    this.undoImages ??= new UndoImages(this.undo, version);
    const images = this.undoImages;
    return interpose((image, { readOnly }) =>
      readOnly || !kept.has(image.name) ? image : images.over(image),
    );
  }

  /** Found out anew under the locks: since the look another process may have changed the images. */
  private async restoreSuperblocks(chosen: readonly ChosenRepair[]): Promise<void> {
    const wanted = new Set(
      chosen
        .filter(({ name }) => name === 'restore-superblock')
        .flatMap(({ findings }) => findings.flatMap(({ where }) => where.image ?? [])),
    );
    if (wanted.size === 0) return;
    const located = await locateVolume(this.args);
    const { judgement } = await lookAndJudge(located);
    const opened = await openImages([...pathsInUse(judgement), ...wanted], located.expected, 'write');
    try {
      const restorable = await findRestorable(opened.images, judgeImages(located, opened.images));
      for (const { image, device } of opened.images) {
        const superblock = wanted.has(image) ? restorable.get(image) : undefined;
        if (superblock === undefined) continue;
        await device.write(superblock.superOffset, superblockBytes(superblock), { fua: true });
        this.done('restore-superblock');
      }
    } finally {
      await opened.close();
    }
  }

  private done(name: RepairName): void {
    if (!this.repairs.includes(name)) this.repairs.push(name);
  }

  private async repairArray(chosen: readonly ChosenRepair[]): Promise<void> {
    const names = new Set<RepairName>(chosen.map(({ name }) => name));
    names.delete('restore-superblock');
    if (names.size === 0) return;
    const { record, warn, sweeping } = this.options;
    const rows = this.scrubs.mismatches(chosen);
    const volume = await sweeping('recover', (sweep) =>
      openVolume(this.args, { access: 'write', force: names.has('start-degraded'), record, warn, sweep }),
    );
    const steps: readonly [RepairName, () => Promise<unknown>][] = [
      // Opening for writing has done these.
      ['recover', () => Promise.resolve()],
      ['start-degraded', () => Promise.resolve()],
      ['finish-rebuild', () => sweeping('rebuild', (sweep) => finishRebuilds(volume, sweep))],
      // Active and, when it is closed, clean again: all that md and we keep is written on every member.
      ['write-metadata', () => arrayOf(volume).metadata.activate()],
      [
        'make-parity',
        () => sweeping('scrub', (sweep) => arrayOf(volume).scrub({ ...sweep, rows, repair: true })),
      ],
      // What they read has to be right by then.
      ...FILE_REPAIRS.map(
        ([name, repair]) =>
          [name, () => repair(volume, () => undefined)] as [RepairName, () => Promise<unknown>],
      ),
    ];
    await thenClose(volume, warn, async () => {
      for (const [name, step] of steps) {
        if (!names.has(name)) continue;
        await step();
        this.done(name);
      }
    });
  }

  private report(left: readonly Finding[], isInterrupted: boolean): FsckReport {
    const leftKeys = new Set(left.map(keyOf));
    const isLeft = (key: string, { code }: Finding): boolean =>
      leftKeys.has(key) || NEVER_REPAIRED.includes(code) || (isInterrupted && FOUND_BY_SCRUB.includes(code));
    const { undo } = this;
    return {
      findings: [...this.seen].map(([key, found]) => ({ ...found, repaired: !isLeft(key, found) })),
      repairs: this.repairs,
      undo: undo === null ? null : { file: undo.path, sizeBytes: undo.sizeBytes, entries: undo.keptEntries },
      isInterrupted,
    };
  }
}

/** Images are repaired one by one; what is done to an array is done to all of it. */
function groupsOf(name: RepairName, findings: readonly Finding[]): Map<string, Finding[]> {
  const groups = new Map<string, Finding[]>();
  for (const found of findings) {
    if (found.repair !== name) continue;
    const key = name === 'restore-superblock' ? `${name} ${found.where.image}` : name;
    groups.set(key, [...(groups.get(key) ?? []), found]);
  }
  return groups;
}
