/**
 * Questions, asked on standard error so that standard output stays what it is, and only of a person: both
 * ends of the talk must be a terminal. Ctrl-C at a question is an interruption like any other.
 */
import { UserError } from '../errors.js';

/** True if there is somebody to ask. */
export function canAsk(): boolean {
  return process.stdin.isTTY === true && process.stderr.isTTY === true;
}

interface Question {
  readonly type: 'confirm' | 'input' | 'select';
  readonly message: string;
  readonly default?: unknown;
  readonly choices?: readonly { readonly name: string; readonly value: string }[];
  readonly validate?: (answer: string) => true | string;
}

async function ask(question: Question, signal: AbortSignal): Promise<unknown> {
  const { default: inquirer } = await import('inquirer');
  const prompt = inquirer.createPromptModule({ output: process.stderr, signal });
  try {
    const answers = await prompt<{ answer: unknown }>([{ ...question, name: 'answer' } as never]);
    return answers.answer;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof Error && error.name === 'ExitPromptError') {
      throw new UserError('INTERRUPTED', 'interrupted at a question, nothing was done', { cause: error });
    }
    throw error;
  }
}

/** Yes or no; Enter alone is no. */
export async function confirm(message: string, signal: AbortSignal): Promise<boolean> {
  return (await ask({ type: 'confirm', message, default: false }, signal)) === true;
}

export interface TextQuestion<V> {
  readonly message: string;
  readonly default?: string;
  /** Throws a UserError where the answer is no good; its message is shown and the question asked again. */
  readonly parse: (answer: string) => V;
}

export async function askText<V>(
  { message, default: standard, parse }: TextQuestion<V>,
  signal: AbortSignal,
): Promise<V> {
  const validate = (answer: string): true | string => {
    try {
      parse(answer);
      return true;
    } catch (error) {
      if (error instanceof UserError) return error.message;
      throw error;
    }
  };
  const question = { type: 'input' as const, message, validate };
  const answer = await ask(standard === undefined ? question : { ...question, default: standard }, signal);
  return parse(String(answer));
}

/** One of several, the first unless `standard` names another. */
export async function askChoice(
  message: string,
  choices: readonly { readonly name: string; readonly value: string }[],
  signal: AbortSignal,
  standard?: string,
): Promise<string> {
  return String(await ask({ type: 'select', message, choices, default: standard }, signal));
}
