/** As many stages as commands may run at once, in a folder of the run's own. */
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../../device/device-errors.js';
import { Stage, type StageOptions } from './stage.js';

export interface StagesOptions extends Omit<StageOptions, 'directory'> {
  readonly count: number;
  /** In which the folder is made. */
  readonly directory: string;
}

export class Stages {
  readonly #waiting: ((stage: Stage) => void)[] = [];

  private constructor(
    private readonly directory: string,
    private readonly free: Stage[],
  ) {}

  static async make({ count, directory, ...options }: StagesOptions): Promise<Stages> {
    const own = await mkdtemp(join(directory, 'holdfast-crash-')).catch((error: unknown) => {
      throw fileError(directory, 'written', error);
    });
    const stages: Stage[] = [];
    try {
      for (let at = 0; at < count; at++)
        stages.push(await Stage.make({ ...options, directory: join(own, `${at}`) }));
    } catch (error) {
      await rm(own, { recursive: true, force: true });
      throw error;
    }
    return new Stages(own, stages);
  }

  /** On one that nobody else is on. */
  async on<R>(body: (stage: Stage) => Promise<R>): Promise<R> {
    const stage = this.free.pop() ?? (await new Promise<Stage>((resolve) => this.#waiting.push(resolve)));
    try {
      return await body(stage);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.free.push(stage);
      else next(stage);
    }
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
