/**
 * Stands between an NBD client and its server on a unix socket, and passes on what both say, until what the client says has a
 * word in it: then the test does as it likes, and neither hears of the other any more on that connection.
 */
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

export interface Interception {
  /** Within one request, which is not split: it is short. */
  readonly word: string;
  /** `before`: the server does not get it. `during`: it does, and nobody waits for it. `after`: it has answered. */
  readonly when: 'before' | 'during' | 'after';
  readonly act: () => Promise<void>;
}

export class Relay {
  /** Once. */
  next: Interception | null = null;
  readonly #sockets = new Set<Socket>();

  private constructor(private readonly to: string) {}

  static async at(path: string, to: string): Promise<Relay> {
    const relay = new Relay(to);
    const server = net.createServer((client) => relay.#pass(client));
    server.listen(path);
    await once(server, 'listening');
    onTestFinished(() => {
      server.close();
      for (const socket of relay.#sockets) socket.destroy();
    });
    return relay;
  }

  #pass(client: Socket): void {
    const server = net.connect(this.to);
    let mine: Interception | null = null;
    const cut = (caught: Interception) =>
      void caught.act().then(() => {
        client.destroy();
        server.destroy();
      });
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      this.#sockets.add(one);
      one
        .on('error', () => {})
        .on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
    }
    client.on('data', (bytes) => {
      if (mine === null && this.next !== null && bytes.includes(this.next.word)) {
        mine = this.next;
        this.next = null;
        if (mine.when !== 'before') server.write(bytes);
        if (mine.when !== 'after') cut(mine);
      } else if (mine === null) server.write(bytes);
    });
    server.on('data', (bytes) => {
      if (mine === null) client.write(bytes);
      else if (mine.when === 'after') cut(mine);
    });
  }
}
