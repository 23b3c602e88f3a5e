/**
 * Contexts of NBD_CMD_BLOCK_STATUS: what can be said of ranges of an export. `base:allocation` is made of the
 * device's extents; others (a dirty bitmap) are given with the export.
 */
import type { BlockDevice, ExtentKind } from '../../device/contract.js';
import { ALLOCATION_FLAGS, BASE_ALLOCATION } from '../protocol/constants.js';
import type { StatusDescriptor } from '../protocol/transmission.js';

export interface StatusContext {
  /** Namespace, colon, leaf: at most 4096 bytes. */
  readonly name: string;
  /**
   * Before `status` is asked for a request: once, however many times it is asked, and for all contexts that have the same.
   *
   * @throws as `status`.
   */
  readonly prepare?: () => Promise<void>;
  /**
   * What [offset, offset + length) consists of, from `offset` on, without gaps: 1 byte or more, and it may end
   * early. Both are whole blocks of the export's device.
   *
   * @throws UserError of which the client is told as of a failed read.
   */
  status(offset: number, length: number): Promise<readonly StatusDescriptor[]>;
}

const { NBD_STATE_HOLE, NBD_STATE_ZERO } = ALLOCATION_FLAGS;

const FLAGS: Readonly<Record<ExtentKind, number>> = {
  data: 0,
  zero: NBD_STATE_ZERO,
  hole: NBD_STATE_HOLE | NBD_STATE_ZERO,
};

export function allocationOf(device: BlockDevice): StatusContext {
  return {
    name: BASE_ALLOCATION,
    async status(offset, length) {
      const extents = await device.extents(offset, length);
      return extents.map((extent) => ({ length: extent.length, flags: FLAGS[extent.kind] }));
    },
  };
}

/** Whether the query of NBD_OPT_LIST_META_CONTEXT names the context, by itself or by what it begins with. */
export function isListedBy(context: StatusContext, query: string): boolean {
  return context.name === query || (query.endsWith(':') && context.name.startsWith(query));
}
