/**
 * The rules that the tree's own files are held to, as functions over a file's text: each gives what is wrong,
 * or nothing.
 */

export interface SourceFile {
  /** From the root of the project. */
  readonly path: string;
  readonly text: string;
}

const MAX_LINES = 400;
/** Words of unfinished work, put together so that this file does not hold them. */
const UNFINISHED = new RegExp(
  `\\b(${['TO', 'FIX', 'XX'].map((w, i) => w + ['DO', 'ME', 'X'][i]).join('|')})\\b`,
);
const SUPPRESSED = /@ts-(ignore|nocheck|expect-error)/;
const SKIPPED = /\b(it|test|describe)\.(skip|only|todo|fails)\b/;

type Rule = (file: SourceFile) => string | undefined;

function isCode(path: string): boolean {
  return /\.[cm]?[jt]s$/.test(path);
}

const isShort: Rule = ({ path, text }) => {
  const lines = text.split('\n').length - 1;
  return isCode(path) && lines > MAX_LINES ? `has ${lines} lines, ${MAX_LINES} at most` : undefined;
};

const hasSubject: Rule = ({ path }) =>
  /(^|\/)(utils?|helpers?|misc|common)(\/|\.[jt]s$)/.test(path) ? 'is named for no subject' : undefined;

const isFinished: Rule = ({ text }) => {
  const found = UNFINISHED.exec(text);
  return found === null ? undefined : `says ${found[0]}`;
};

const opensWithItsPurpose: Rule = ({ path, text }) =>
  /^(src|commands|bin)\//.test(path) && isCode(path) && !/^(#!.*\n)?(\/\*\*|\/\/)/.test(text)
    ? 'does not open with a comment'
    : undefined;

const isChecked: Rule = ({ path, text }) =>
  isCode(path) && SUPPRESSED.test(text) && !path.startsWith('test/tree/') ? 'takes a check away' : undefined;

const runsItsTests: Rule = ({ path, text }) =>
  path.endsWith('.test.ts') && !path.startsWith('test/tree/') && SKIPPED.test(text)
    ? 'has tests that do not run'
    : undefined;

const RULES: readonly Rule[] = [
  isShort,
  hasSubject,
  isFinished,
  opensWithItsPurpose,
  isChecked,
  runsItsTests,
];

/** What is wrong with the file, as `path: what`. */
export function faultsOf(file: SourceFile): string[] {
  return RULES.flatMap((rule) => rule(file) ?? []).map((fault) => `${file.path} ${fault}`);
}
