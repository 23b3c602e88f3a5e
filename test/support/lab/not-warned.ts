/** For what has nothing to warn of. */
export function notWarned(message: string): never {
  throw new Error(`a warning: ${message}`);
}
