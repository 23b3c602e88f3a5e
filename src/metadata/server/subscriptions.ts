/** Who is told of what the server does without being asked. */
import type { ServerEvent } from '../messages.js';

export class Subscriptions {
  readonly #callbacks = new Map<string, Set<(event: ServerEvent) => void>>();
  readonly #names = new Map<number, string>();

  /** The name of the client with this number. */
  name(client: number, name: string): void {
    this.#names.set(client, name);
  }

  add(client: string, callback: (event: ServerEvent) => void): () => void {
    const callbacks = this.#callbacks.get(client) ?? new Set();
    this.#callbacks.set(client, callbacks);
    callbacks.add(callback);
    return () => {
      callbacks.delete(callback);
      if (callbacks.size === 0) this.#callbacks.delete(client);
    };
  }

  tell(to: { readonly only: number } | { readonly allBut: number | null }, event: ServerEvent): void {
    const named = 'only' in to ? to.only : to.allBut;
    const name = named === null ? undefined : this.#names.get(named);
    for (const [client, callbacks] of this.#callbacks) {
      if ((client === name) === 'only' in to) for (const callback of callbacks) callback(event);
    }
  }
}
