/** The files of a store by name. */
import { UserError } from '../errors.js';
import type { FileInfo } from '../metadata/messages.js';
import type { ClientContext } from './context.js';
import type { CreateFileOptions } from './contract.js';
import { isNoSpace } from './journal-reserve.js';
import type { OpenFiles } from './open-files.js';

/** Of one message. */
const FILES_AT_ONCE = 256;

export class StoreFiles {
  constructor(
    private readonly context: ClientContext,
    private readonly open: OpenFiles,
  ) {}

  /** FILE_EXISTS, USAGE for what cannot be a name, NO_SPACE for a reserve that the pool does not have. */
  async create(name: string, { sizeBytes, reserveBytes = 0 }: CreateFileOptions): Promise<FileInfo> {
    const { session, client, shape, reserve } = this.context;
    const reserveExtents = Math.ceil(reserveBytes / shape.extentBytes);
    const create = () => session.request({ type: 'Create_File', client, name, sizeBytes, reserveExtents });
    try {
      return await create();
    } catch (cause) {
      if (!isNoSpace(cause)) throw cause;
      // What was taken ahead is no reason to refuse it.
      await reserve.freeReady();
      return create();
    }
  }

  /** All, by name. */
  async list(): Promise<FileInfo[]> {
    const { session, client } = this.context;
    const found: FileInfo[] = [];
    for (;;) {
      const after = found.at(-1)?.name;
      const { files } = await session.request({
        type: 'List_Files',
        client,
        ...(after === undefined ? {} : { after }),
        count: FILES_AT_ONCE,
      });
      found.push(...files);
      if (files.length < FILES_AT_ONCE) return found;
    }
  }

  /** null: there is none. */
  async find(name: string): Promise<FileInfo | null> {
    try {
      return await this.get(name);
    } catch (cause) {
      if (cause instanceof UserError && cause.code === 'FILE_NOT_FOUND') return null;
      throw cause;
    }
  }

  /** FILE_NOT_FOUND. */
  get(name: string): Promise<FileInfo> {
    const { session, client } = this.context;
    return session.request({ type: 'Look_Up_File', client, name });
  }

  /** With what of it is not committed. IN_USE where it is open. */
  async remove(name: string): Promise<void> {
    const info = await this.get(name);
    this.#refuseIfOpen(info, 'removed');
    if (this.open.kept.has(info.file)) {
      const file = await this.open.open(info, { access: 'write' });
      await file.discard();
      await file.close();
    }
    const { session, client, completions } = this.context;
    await completions.idle(info.file);
    await session.request({ type: 'Remove_File', client, file: info.file });
  }

  async rename(name: string, newName: string): Promise<void> {
    const { session, client } = this.context;
    const { file } = await this.get(name);
    await session.request({ type: 'Rename_File', client, file, name: newName });
    const state = this.open.state(file);
    if (state !== undefined) state.name = newName;
  }

  /** Of the last commit point (paragraph 53): waits for what is being completed. */
  async snapshot(name: string, asName: string): Promise<FileInfo> {
    const { session, client, completions } = this.context;
    const { file } = await this.get(name);
    const take = async () => {
      await completions.idle(file);
      const info = await session.request({ type: 'Snapshot_File', client, file, name: asName });
      this.open.state(file)?.map.drop(null);
      return info;
    };
    return this.open.get(file)?.withoutCommits(take) ?? take();
  }

  #refuseIfOpen({ file, name }: FileInfo, what: string): void {
    if (this.open.get(file) === undefined) return;
    throw new UserError('IN_USE', `${name} cannot be ${what}: it is open`, {
      hint: 'Close it first.',
      details: { file: name },
    });
  }
}
