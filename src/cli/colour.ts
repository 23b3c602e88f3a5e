/**
 * Colour, which is never the only sign of anything. Only terminals get it, and NO_COLOR (set and not empty)
 * takes it away; chalk itself does not look at NO_COLOR. Loaded when the first coloured word is printed.
 */
import type { ChalkInstance } from 'chalk';

export type Tone = 'good' | 'bad' | 'doubtful' | 'strong' | 'faint';

/** Paints for one stream; without colour it gives back what it was given. */
export type Painter = (tone: Tone, text: string) => string;

const plain: Painter = (_tone, text) => text;

export function wantsColour(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && !process.env.NO_COLOR && process.env.TERM !== 'dumb';
}

function paintWith(chalk: ChalkInstance): Painter {
  const tones: Record<Tone, (text: string) => string> = {
    good: chalk.green,
    bad: chalk.red.bold,
    doubtful: chalk.yellow,
    strong: chalk.bold,
    faint: chalk.dim,
  };
  return (tone, text) => tones[tone](text);
}

export async function painterFor(stream: NodeJS.WriteStream): Promise<Painter> {
  if (!wantsColour(stream)) return plain;
  const { Chalk } = await import('chalk');
  return paintWith(new Chalk({ level: 1 }));
}
