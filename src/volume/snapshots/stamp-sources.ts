/** Where the stamps of a volume are (stamp.ts): in the superblocks of an array; of an image in what its file has. */
import type { RaidArray } from '../../raid/array.js';
import { type StampSource, stampOfImage, stampOfMembers } from './stamp.js';

/** As the superblocks are that were written last. */
export function stampsOfArray({ core, metadata }: RaidArray): StampSource {
  return {
    read: async () => stampOfMembers(core.slotMembers().map(({ superblock }) => superblock)),
    tag: (tag) => metadata.tagStamps(tag),
    leave: () => metadata.activate(),
  };
}

/** An image has no place for a stamp. */
export function stampsOfImage(image: string): StampSource {
  return { read: () => stampOfImage(image), tag: () => {}, leave: async () => {} };
}
