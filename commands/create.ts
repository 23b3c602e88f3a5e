/** `holdfast create`: a new RAID-5 volume on image files, or one plain image; raw, or for files on extents. */
import * as Flags from '@oclif/core/flags';
import { askNewVolume } from '../src/cli/ask-new-volume.js';
import type { Outcome } from '../src/cli/base-command.js';
import { HoldfastCommand } from '../src/cli/base-command.js';
import type { Painter } from '../src/cli/colour.js';
import { FLAG_PLACE_WORDS } from '../src/cli/file-command.js';
import {
  countFlag,
  dryRunFlag,
  forceFlag,
  imagesFlag,
  newVolumeArgument,
  recordFlag,
  sizeFlag,
  yesFlag,
} from '../src/cli/flags.js';
import { canAsk } from '../src/cli/prompts.js';
import { formatSize } from '../src/cli/sizes.js';
import { renderFacts } from '../src/cli/tables.js';
import { UserError } from '../src/errors.js';
import { FLAG_PLACES } from '../src/metadata/flag-places.js';
import { LAYOUTS } from '../src/raid/geometry.js';
import type { CreateVolumeOptions, PlannedVolume } from '../src/volume/index.js';

const DEFAULT_MEMBERS = 4;
const DEFAULT_CHUNK_BYTES = 64 * 1024;
const DEFAULT_LAYOUT = 'left-symmetric';

export default class Create extends HoldfastCommand<typeof Create> {
  static override summary = 'Make a new volume';
  static override description =
    `A RAID-5 volume in Linux md's own format (metadata 1.2), or with --members 1 one plain image. Images that exist are used if they are blank. On a terminal, without flags, it asks.

With --format extents the volume holds files (holdfast file), whose writes go through a journal in the same pool of extents. --size is what files can use; what metadata takes comes on top. --journal-image adds extents on another image.`;
  static override examples = [
    '<%= config.bin %> create myvolume --size 1GiB',
    '<%= config.bin %> create myvolume --members 3 --size 10G --chunk 512K --image /a/1.img --image /b/2.img --image /c/3.img',
    '<%= config.bin %> create plain --members 1 --size 100M',
    '<%= config.bin %> create files --size 10GiB --format extents --extent 1152KiB',
  ];
  static override args = { volume: newVolumeArgument };
  static override flags = {
    members: countFlag({ min: 1, max: 64, description: `how many images [default: ${DEFAULT_MEMBERS}]` }),
    size: sizeFlag({ min: 512, description: 'what is to be usable' }),
    chunk: sizeFlag({ description: 'what lies on one member before the next one follows [default: 64KiB]' }),
    layout: Flags.string({
      options: [...LAYOUTS],
      helpValue: 'LAYOUT',
      description: `where parity lies: ${LAYOUTS.join(', ')} [default: ${DEFAULT_LAYOUT}]`,
    }),
    format: Flags.string({
      options: ['raw', 'extents'],
      default: 'raw',
      description: 'what the volume holds',
    }),
    extent: sizeFlag({
      description:
        'with --format extents: bytes of an extent [default: whole stripes of at least 1MiB; on one image 64KiB]',
    }),
    block: sizeFlag({ description: 'with --format extents: bytes of a block [default: 4KiB]' }),
    metadata: Flags.string({
      helpValue: 'FILE',
      description: 'with --format extents: keep the metadata in an image of its own',
    }),
    'journal-image': Flags.string({
      helpValue: 'FILE',
      description: 'with --format extents: more extents, on an image of their own',
    }),
    'journal-size': sizeFlag({ description: 'what is to be usable of the journal image' }),
    flags: Flags.option({
      options: FLAG_PLACES,
      description:
        'with --format extents: where the flags of what is written and not committed are kept: at the metadata server, in a file of this machine, or on the storage [default: metadata]',
    })(),
    name: Flags.string({
      helpValue: 'NAME',
      description: "what the volume is called [default: its directory's name]",
    }),
    image: imagesFlag,
    record: recordFlag,
    force: forceFlag('overwrite images and volumes that hold data'),
    yes: yesFlag,
    'dry-run': dryRunFlag,
  };

  protected async execute(): Promise<Outcome> {
    const { createVolume, planVolume } = await import('../src/volume/index.js');
    const { yes, 'dry-run': dryRun } = this.flags;
    const options = await this.#options();
    const plan = await planVolume(options);
    if (options.force && (plan.replaces || plan.overwrites.length > 0)) {
      const images = plan.overwrites.map(({ image }) => image);
      const lost = [...(plan.replaces ? [`the volume in ${options.directory}`] : []), ...images];
      await this.confirm(`Overwrite ${lost.join(', ')}? What they hold is lost.`, { yes, dryRun });
    }
    const { members, chunkBytes, layout } = options;
    const shape = plan.kind === 'raid' ? { members, chunkBytes, layout } : { members };
    if (dryRun) {
      return {
        result: { dryRun, ...plan, ...shape },
        text: (paint) => describe('Would make', options, plan, paint),
      };
    }
    const made = await createVolume(options);
    return { result: { ...made, ...shape }, text: (paint) => describe('Made', options, made, paint) };
  }

  async #options(): Promise<CreateVolumeOptions> {
    const { volume: directory } = this.args;
    const { force, name, record, image: images = [] } = this.flags;
    const given = { ...this.flags, members: this.flags.members ?? (images.length || undefined) };
    const {
      members = DEFAULT_MEMBERS,
      chunk,
      layout,
      size,
    } = this.#shouldAsk() ? await askNewVolume(given, this.signal) : given;
    if (size === undefined) {
      throw new UserError('USAGE', 'missing: --size', {
        hint: 'how much is to be usable? For example --size 1GiB',
      });
    }
    const shape = {
      members,
      sizeBytes: size,
      chunkBytes: chunk ?? DEFAULT_CHUNK_BYTES,
      layout: layout ?? DEFAULT_LAYOUT,
    };
    return { directory, ...shape, name, images, record, extents: this.#extents(), force };
  }

  /** undefined: the volume is to be raw. Throws USAGE for flags of the other format. */
  #extents(): CreateVolumeOptions['extents'] {
    const { format, extent, block, metadata, 'journal-image': journalImage } = this.flags;
    const { 'journal-size': journalSizeBytes, flags } = this.flags;
    if (format === 'extents')
      return { extentBytes: extent, blockBytes: block, metadata, journalImage, journalSizeBytes, flags };
    const named = ['extent', 'block', 'metadata', 'journal-image', 'journal-size', 'flags'] as const;
    const wrong = named.find((name) => this.flags[name] !== undefined);
    if (wrong === undefined) return undefined;
    throw new UserError('USAGE', `--${wrong} is for volumes of files: --format extents`);
  }

  /** Whoever names a size knows what they want; a script has nobody to ask. */
  #shouldAsk(): boolean {
    return this.flags.size === undefined && canAsk();
  }
}

function describe(verb: string, options: CreateVolumeOptions, plan: PlannedVolume, paint: Painter): string {
  const { members, chunkBytes, layout } = options;
  const facts: [string, string][] = [
    [verb, `${plan.name} in ${options.directory}`],
    ['Size', formatSize(plan.sizeBytes)],
  ];
  if (plan.kind === 'raid')
    facts.push(['RAID', `level 5, ${members} members, ${layout}, chunks of ${formatSize(chunkBytes)}`]);
  plan.images.forEach((image, index) => {
    facts.push([index === 0 ? 'Images' : '', `${image} (${formatSize(plan.imageSizeBytes)})`]);
  });
  if (plan.record !== null) facts.push(['Stripe record', plan.record]);
  if (plan.extents !== undefined) facts.push(...extentsFacts(plan.extents));
  for (const { image, offsetBytes } of plan.overwrites) {
    facts.push(['Overwritten', `${image}, which held data from offset ${offsetBytes} on`]);
  }
  return renderFacts(facts, paint);
}

function extentsFacts({
  extentBytes,
  blockBytes,
  extents,
  journalExtents,
  metadataBytes,
  metadata,
  journalImage,
  flags,
}: NonNullable<PlannedVolume['extents']>): [string, string][] {
  const facts: [string, string][] = [
    ['Extents', `${extents} of ${formatSize(extentBytes)}, blocks of ${formatSize(blockBytes)}`],
    ['Metadata', `${formatSize(metadataBytes)}, ${metadata === null ? 'on the volume' : `in ${metadata}`}`],
  ];
  if (journalImage !== null)
    facts.push(['Journal image', `${journalImage}, with ${journalExtents} extents more`]);
  if (flags !== 'metadata') facts.push(['Flags kept', FLAG_PLACE_WORDS[flags]]);
  return facts;
}
