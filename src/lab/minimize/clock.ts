/** How long there is to make something smaller: what is left by then is the outcome. */

export class Clock {
  readonly #until: number;
  #wasOver = false;

  constructor(seconds: number) {
    this.#until = performance.now() + seconds * 1000;
  }

  /** Asked before each try. */
  readonly isOver = (): boolean => {
    this.#wasOver ||= performance.now() >= this.#until;
    return this.#wasOver;
  };

  /** Something that could have been tried was not. */
  get wasOver(): boolean {
    return this.#wasOver;
  }
}
