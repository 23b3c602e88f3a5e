/**
 * What came from outside (names in superblocks, paths, an operating system's messages) may hold control
 * characters, and a terminal obeys those. Nothing from outside reaches a terminal without passing here.
 */

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;

/** `text` with control characters (but newline and tab) written as \xNN. */
export function printable(text: string): string {
  return text.replace(CONTROL, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** JSON stays what it says: what it may have of them as they are (RFC 8259, section 7) is written as \u00NN. */
export function printableInJson(json: string): string {
  return json.replace(CONTROL, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** The same for what has to stay on one line: a newline in a name would make up a row of a table. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\t\n]/g, (c) => (c === '\n' ? '\\n' : '\\t'));
}
