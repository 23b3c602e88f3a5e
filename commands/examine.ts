/** `holdfast examine`: what is on each image, as found, valid or not; nothing is judged against the others. */
import { HoldfastCommand, type Outcome } from '../src/cli/base-command.js';
import type { Painter } from '../src/cli/colour.js';
import { EXIT, STATE_EXIT_CODES } from '../src/cli/exit-codes.js';
import { imagesArgument } from '../src/cli/flags.js';
import { formatSize } from '../src/cli/sizes.js';
import { type Cell, renderFacts } from '../src/cli/tables.js';
import type { ImageReport } from '../src/volume/index.js';

type SuperblockReport = ImageReport['superblocks'][number];
type Fact = readonly [string, string | Cell];

export default class Examine extends HoldfastCommand<typeof Examine> {
  static override summary = "Show each image's superblock, records and maps, as found on disk";
  static override description = 'Nothing is written and nothing is locked; images need not belong together.';
  static override examples = [
    '<%= config.bin %> examine disk1.img disk2.img',
    '<%= config.bin %> examine disk1.img --json',
  ];
  static override exitCodes = {
    ...STATE_EXIT_CODES,
    '0': 'every image is clean, or has no superblock',
    '3': 'an image is dirty, being rebuilt, or part of what it holds is damaged',
    '4': 'an image has a damaged superblock and no good one',
  };
  static override args = { image: imagesArgument };

  protected async execute(): Promise<Outcome> {
    const { examineImages } = await import('../src/volume/index.js');
    const images = await examineImages(this.args.image);
    return {
      result: { images },
      exitCode: Math.max(...images.map(verdictOn)),
      text: (paint) => images.map((image) => describe(image, paint)).join('\n\n'),
    };
  }
}

function verdictOn(report: ImageReport): number {
  const { superblocks, damaged } = report;
  const [counts] = superblocks;
  if (counts === undefined) return damaged.length > 0 ? EXIT.lost : verdictOnExtents(report);
  const isUnwell =
    damaged.length > 0 ||
    counts.state === 'dirty' ||
    counts.recoveryOffsetBytes !== null ||
    [counts.bitmap, counts.ppl, counts.badBlockLog].some((found) => (found?.problem ?? null) !== null);
  return isUnwell ? EXIT.unwell : EXIT.done;
}

function verdictOnExtents({ extents }: ImageReport): number {
  if (extents === null) return EXIT.done;
  const { superblocks, engine } = extents;
  const isLost =
    superblocks.every(({ superblock }) => superblock === null) || (engine !== null && engine.root === null);
  if (isLost) return EXIT.lost;
  const isUnwell =
    superblocks.some(({ problem }) => problem !== null) || (engine !== null && engine.problems.length > 0);
  return isUnwell ? EXIT.unwell : EXIT.done;
}

function describe(report: ImageReport, paint: Painter): string {
  const { image, sizeBytes, superblocks, damaged, extents } = report;
  const parts = [`${paint('strong', image)}: ${formatSize(sizeBytes)}`];
  if (superblocks.length + damaged.length === 0 && extents === null) parts.push('no superblock');
  if (extents !== null) parts.push(renderFacts(extentsFacts(extents), paint));
  for (const [index, superblock] of superblocks.entries()) {
    if (index > 0) parts.push('another superblock, older:');
    parts.push(renderFacts(factsOf(superblock), paint));
  }
  for (const { version, superOffset, reason } of damaged) {
    parts.push(paint('bad', `damaged superblock ${version} at ${formatSize(superOffset)}: ${reason}`));
  }
  return parts.join('\n');
}

function factsOf(superblock: SuperblockReport): Fact[] {
  const unknown =
    superblock.unknownFeatures === 0 ? '' : ` (unknown: 0x${superblock.unknownFeatures.toString(16)})`;
  return [
    ['Metadata', `md ${superblock.metadataVersion} at ${formatSize(superblock.superOffsetBytes)}`],
    ['Array', `${superblock.uuid} ${superblock.name}`.trim()],
    ['Made', superblock.createdAt],
    ['Updated', superblock.updatedAt],
    ['RAID', `level ${superblock.level}, ${superblock.raidDisks} members, ${superblock.layout}`],
    ['Chunk', formatSize(superblock.chunkBytes)],
    ['Data', `${formatSize(superblock.memberSizeBytes)} from ${formatSize(superblock.dataOffsetBytes)}`],
    [
      'Device',
      `number ${superblock.deviceNumber}, ${roleName(superblock.role)}, UUID ${superblock.deviceUuid ?? 'none'}`,
    ],
    ['Roles', rolesOf(superblock)],
    ['Events', String(superblock.events)],
    ['State', { text: superblock.state, tone: superblock.state === 'clean' ? 'good' : 'doubtful' }],
    ['Features', `0x${superblock.featureMap.toString(16)}${unknown}`],
    ['Opening stamp', superblock.openingStamp],
    ...progressFacts(superblock),
    ...mapFacts(superblock),
  ];
}

/** By device number. md keeps room for many; what follows the last that was given is all alike. */
function rolesOf({ roles }: SuperblockReport): string {
  const given = roles.findLastIndex((role) => role !== 'spare') + 1;
  const words = roles.slice(0, given).map(String).join(' ');
  return given < roles.length ? `${words} (the other ${roles.length - given}: spare)` : words;
}

function roleName(role: SuperblockReport['role']): string {
  return typeof role === 'number' ? `slot ${role}` : role;
}

function progressFacts({ resyncOffsetBytes, recoveryOffsetBytes, reshaping }: SuperblockReport): Fact[] {
  const facts: Fact[] = [];
  if (resyncOffsetBytes !== null) facts.push(['Parity right', `below ${formatSize(resyncOffsetBytes)}`]);
  if (recoveryOffsetBytes !== null) facts.push(['Rebuilt', `below ${formatSize(recoveryOffsetBytes)}`]);
  if (reshaping) facts.push(['Reshape', { text: 'in progress', tone: 'bad' }]);
  return facts;
}

/** A record that was cut short is what a power cut leaves, and no fault: the one before it counts. */
function recordFact(record: SuperblockReport['records'][number]): Fact {
  const { offsetBytes, generation, clean, dirtyStripes, inDoubtBytes, matchesSuperblock, problem } = record;
  const which = generation === null ? '' : `generation ${generation}, `;
  if (problem !== null)
    return ['Stripe record', { text: `at ${formatSize(offsetBytes)}: ${which}${problem}`, tone: 'doubtful' }];
  const words = [clean ? 'clean' : `${dirtyStripes} dirty stripes`];
  if (inDoubtBytes) words.push(`${inDoubtBytes} bytes in doubt`);
  if (!matchesSuperblock) words.push('for another superblock than this');
  return ['Stripe record', `at ${formatSize(offsetBytes)}: ${which}${words.join(', ')}`];
}

function mapFacts({ bitmap, ppl, badBlockLog, badBlocks, records }: SuperblockReport): Fact[] {
  const facts: Fact[] = records.map(recordFact);
  if (bitmap !== null) {
    const words = `at ${formatSize(bitmap.offsetBytes)}: ${bitmap.dirtyBits} of ${bitmap.bits} bits dirty, events ${bitmap.events}`;
    facts.push(['Bitmap', orProblem(words, bitmap.problem)]);
  }
  if (ppl !== null) {
    facts.push(['PPL', orProblem(`at ${formatSize(ppl.offsetBytes)}: ${ppl.entries} entries`, ppl.problem)]);
  }
  if (badBlockLog !== null) {
    const words = `at ${formatSize(badBlockLog.offsetBytes)}: ${badBlocks.length} ranges`;
    facts.push(['Bad blocks', orProblem(words, badBlockLog.problem)]);
  }
  for (const { offsetBytes, lengthBytes } of badBlocks) {
    facts.push(['', `${formatSize(lengthBytes)} at ${formatSize(offsetBytes)} of the image`]);
  }
  return facts;
}

function extentsFacts({ superblocks, engine }: NonNullable<ImageReport['extents']>): Fact[] {
  const facts: Fact[] = superblocks.flatMap(({ offsetBytes, superblock, problem }): Fact[] => {
    const place = `at ${formatSize(offsetBytes)}`;
    if (superblock === null)
      return [['Extents', { text: `superblock ${place}: ${problem ?? ''}`, tone: 'bad' }]];
    const { volumeUuid, role, generation } = superblock;
    return [['Extents', `superblock ${place}: ${role} of ${volumeUuid}, generation ${generation}`]];
  });
  const good = superblocks.find(({ superblock }) => superblock !== null)?.superblock ?? null;
  if (good !== null) facts.push(...placeFacts(good));
  if (engine === null) return facts;
  const { offsetBytes, lengthBytes, root, problems } = engine;
  facts.push(['Metadata', `${formatSize(lengthBytes)} at ${formatSize(offsetBytes)}`]);
  if (root !== null)
    facts.push([
      'Root',
      `generation ${root.generation}, ${root.entries} entries in ${root.pagesUsed} of ${engine.pages} pages`,
    ]);
  return [...facts, ...problems.map((text): Fact => ['', { text, tone: 'bad' }])];
}

type ExtentsSuperblock = NonNullable<
  NonNullable<ImageReport['extents']>['superblocks'][number]['superblock']
>;

function placeFacts({
  deviceUuid,
  blockBytes,
  extentBytes,
  pool,
  metadataImage,
  journalImage,
}: ExtentsSuperblock): Fact[] {
  const facts: Fact[] = [
    ['Device', deviceUuid],
    ['Sizes', `extents of ${formatSize(extentBytes)}, blocks of ${formatSize(blockBytes)}`],
  ];
  if (pool !== null)
    facts.push(['Pool', `${pool.extents} extents from number ${pool.first}, at ${formatSize(pool.offset)}`]);
  if (metadataImage !== null) facts.push(['Metadata', `in an image of its own, device ${metadataImage}`]);
  if (journalImage !== null)
    facts.push([
      'Journal',
      `${journalImage.extents} extents in an image of its own, device ${journalImage.uuid}`,
    ]);
  return facts;
}

function orProblem(words: string, problem: string | null): string | Cell {
  return problem === null ? words : { text: problem, tone: 'bad' };
}
