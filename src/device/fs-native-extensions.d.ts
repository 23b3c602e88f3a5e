/** The parts of fs-native-extensions that we use; the package has no types of its own. */
declare module 'fs-native-extensions' {
  /** An OFD lock from `offset` on, to the end of the file for length 0. False: somebody else has one. */
  export function tryLock(fd: number, offset: number, length: number, options: { shared: boolean }): boolean;
  export function unlock(fd: number, offset: number, length: number): void;
  /** fallocate(2) with FALLOC_FL_PUNCH_HOLE and FALLOC_FL_KEEP_SIZE. Rejects with an error that has a code. */
  export function trim(fd: number, offset: number, length: number): Promise<void>;
}
