/** An image, and a server of other people of it that is killed, started anew, and stopped in its tracks at will. */
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ServerPlace, type ServerProcess } from './servers.js';

export type Start = (place: ServerPlace, image: string) => Promise<ServerProcess>;

export class ServedImage {
  private constructor(
    readonly place: ServerPlace,
    readonly image: string,
    private readonly start: Start,
    private server: ServerProcess,
  ) {}

  /** Of a new image, all holes. */
  static async by(start: Start, sizeBytes: number): Promise<ServedImage> {
    const place = await ServerPlace.make();
    try {
      const image = join(place.folder, 'image');
      await writeFile(image, '');
      await truncate(image, sizeBytes);
      return new ServedImage(place, image, start, await start(place, image));
    } catch (error) {
      await place.remove();
      throw error;
    }
  }

  get uri(): string {
    return this.place.uri();
  }

  async kill(): Promise<void> {
    await this.server.kill();
  }

  /** It is silent, and its connections stay. */
  freeze(): void {
    this.server.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.server.child.kill('SIGCONT');
  }

  async restart(): Promise<void> {
    this.server = await this.start(this.place, this.image);
  }

  onDisk(): Promise<Uint8Array> {
    return readFile(this.image);
  }

  /** Ends the server, too. */
  async remove(): Promise<void> {
    await this.place.remove();
  }
}
