/** Which message is handled where. */
import type { Replies, RequestName, RequestOf } from '../messages.js';
import { endOther, lockFile, takeOver, unlockFile } from './clients.js';
import { endClient } from './ended-client.js';
import { createFile, removeFile, renameFile, snapshotFile } from './files.js';
import { commitDataJournal, swapDataJournal } from './finish.js';
import { hardenExtentFlags, isLong } from './harden.js';
import {
  allocateJournalSpace,
  associateDataJournal,
  disassociateJournalExtent,
  freeJournalSpace,
} from './journal.js';
import { listFiles, lookUpFile, mapExtents, readTransaction, space } from './look-ups.js';
import { abortTransaction } from './take-back.js';
import type { Caller, Turn } from './turn.js';

/** Open_Client has no caller yet, and Renew_Lease is all about time: they are the server's own. */
export type HandledName = Exclude<RequestName, 'Open_Client' | 'Renew_Lease'>;

type Handlers = {
  readonly [N in HandledName]: (turn: Turn, caller: Caller, request: RequestOf<N>) => Promise<Replies[N]>;
};

export const HANDLERS: Handlers = {
  Allocate_Journal_Space: allocateJournalSpace,
  Associate_Data_Journal: associateDataJournal,
  Harden_Extent_Flags: hardenExtentFlags,
  Swap_Data_Journal: swapDataJournal,
  Commit_Data_Journal: commitDataJournal,
  Disassociate_Journal_Extent: disassociateJournalExtent,
  Free_Journal_Space: freeJournalSpace,
  Read_Transaction: readTransaction,
  Take_Over: takeOver,
  Abort_Transaction: abortTransaction,
  Create_File: (turn, _caller, request) => createFile(turn, request),
  Remove_File: removeFile,
  Rename_File: (turn, _caller, request) => renameFile(turn, request),
  List_Files: (turn, _caller, request) => listFiles(turn, request),
  Look_Up_File: (turn, _caller, request) => lookUpFile(turn, request),
  Map_Extents: (turn, _caller, request) => mapExtents(turn, request),
  Snapshot_File: snapshotFile,
  Close_Client: async (turn, { client }) => {
    await endClient(turn, client);
    return {};
  },
  End_Client: (turn, _caller, request) => endOther(turn, request),
  Lock_File: lockFile,
  Unlock_File: unlockFile,
  Space: (turn) => space(turn),
};

/** It commits parts of its own, so nothing else may share its draft. */
export function isAlone(type: RequestName, request: unknown): boolean {
  if (type === 'Open_Client' || type === 'Abort_Transaction') return true;
  return type === 'Harden_Extent_Flags' && isLong(request as RequestOf<'Harden_Extent_Flags'>);
}
