/** What is put into the log store, number by number: who looks at a disk later can tell what each number was. */
const HOT_KEYS = ['one', 'two'];

/** The first is put once and never again, so that only copies keep it; the others are put by turns. */
export function keyOf(number: number): string {
  return number === 1 ? 'once' : HOT_KEYS[number % HOT_KEYS.length]!;
}

/** Of one sector or two. */
export function textOf(number: number): string {
  return `${number} `.repeat(number % 4 === 0 ? 40 : 250).trimEnd();
}

/** The number of a value as it was put; null: nobody ever put that. */
export function numberOf(key: string, value: string): number | null {
  const number = Number.parseInt(value, 10);
  return keyOf(number) === key && textOf(number) === value ? number : null;
}

export function mark(number: number): string {
  return `stored ${number}`;
}

export function markedNumber(text: string): number {
  return text === '' ? 0 : Number(text.replace('stored ', ''));
}
