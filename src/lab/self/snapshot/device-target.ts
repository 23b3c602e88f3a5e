/** A backup on a device: it is one from when it has a name, as with an image that is renamed when all of it is durable. */
import type { BlockDevice } from '../../../device/contract.js';
import type { BackupTarget } from '../../../snapshot/backup/target.js';
import { SealedSlots } from './sealed-slots.js';

/** What has a name says of which moment it is. */
type Named = { readonly moment: string };

export class DeviceTarget implements BackupTarget {
  readonly name = 'target';
  #naming: Promise<void> | null = null;
  #isAbandoned = false;

  /** `device` is blank. */
  constructor(
    private readonly moment: string,
    private readonly device: BlockDevice,
    private readonly named: BlockDevice,
  ) {}

  /** The moment of the backup that is there; null: there is none. */
  static async momentOf(named: BlockDevice): Promise<string | null> {
    return (await new SealedSlots<Named>(named).read())?.moment ?? null;
  }

  async put(offset: number, content: Uint8Array): Promise<void> {
    await this.device.write(offset, content);
  }

  async zero(): Promise<void> {}

  async finish(): Promise<void> {
    await this.device.flush();
    if (this.#isAbandoned) throw new Error('it was abandoned');
    const slots = new SealedSlots<Named>(this.named);
    await slots.read();
    this.#naming = slots.put({ moment: this.moment });
    await this.#naming;
  }

  async abandon(): Promise<boolean> {
    this.#isAbandoned = true;
    const hasName = await this.#naming?.then(
      () => true,
      () => false,
    );
    return hasName !== true;
  }
}
