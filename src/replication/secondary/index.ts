/** The secondary of a replicated volume: the device that its primary writes, its marks, and promote. */
export { demote } from './demote.js';
export { SecondaryDevice } from './device.js';
export { epochCost } from './epoch-record.js';
export { keptBytesFor } from './kept-container.js';
export { Layer } from './layer.js';
export { extentsLayered, readLayered } from './layered.js';
export {
  type EpochPoint,
  type Generation,
  MARKS_BYTES,
  type Marks,
  newId,
  readMarks,
  type SecondaryState,
} from './marks.js';
export { type OpenSecondaryOptions, openSecondary } from './open.js';
export { createSecondary, type NewSecondary, NO_GENERATION, type SecondaryParts } from './parts.js';
export { type Promoted, type PromoteOptions, promote, takenBack } from './promote.js';
export type { SecondaryStatus } from './status.js';
export { epochTooLong } from './too-long.js';
