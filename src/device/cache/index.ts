/** The write-back cache: what the rest of the program needs of it. */
export type { CacheOptions } from './cache-plan.js';
export { type CacheStatistics, WriteBackCache } from './write-back-cache.js';
