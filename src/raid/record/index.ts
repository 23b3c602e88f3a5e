/** The dirty-stripe record, for those above the array. */
export {
  type DamagedRecord,
  describeBits,
  encodeRecord,
  isDamagedRecord,
  type RecordContent,
} from './codec.js';
export { type FoundRecord, goodRecords, knowsSuperblock, readPlace, superblockHash } from './find.js';
export { type ArrayRecord, writingForbidden } from './open-record.js';
export { fileBytes, filePlaces, memberPlace, type RecordPlace } from './places.js';
export { COPIES as RECORD_COPIES } from './record-writer.js';
