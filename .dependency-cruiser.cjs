/**
 * Which folder may import which. Imports run downwards only, type-only ones too: a layer knows the contract
 * of the device below it, never its neighbour and never what is above it.
 *
 * `npm run layers` checks the tree; test/tree/layers.test.ts does too, and that breaches are caught.
 */

/** From the bottom up; what stands together is one level. The files of src/ itself are below all. */
const LEVELS = [
  ['device'],
  ['raid'],
  ['extents', 'metadata', 'replication', 'snapshot', 'filesystems', 'crash', 'check', 'nbd'],
  ['volume'],
  ['lab'],
  ['bench', 'demo'],
  ['cli'],
];

/** Within a level: who may import whom all the same. */
const NEIGHBOURS = [
  ['extents', 'metadata'],
  ['snapshot', 'replication'],
];

const folders = (names) => `^src/(${names.join('|')})/`;

const upwards = LEVELS.flatMap((level, i) => {
  const above = LEVELS.slice(i + 1).flat();
  if (above.length === 0) return [];
  return [
    {
      name: `${level.join('-')}-imports-downwards`,
      severity: 'error',
      comment: `src/${level.join(', src/')}: below src/${above.join(', src/')}`,
      from: { path: folders(level) },
      to: { path: folders(above) },
    },
  ];
});

const sideways = LEVELS.filter((level) => level.length > 1).flatMap((level) =>
  level.map((folder) => {
    const allowed = NEIGHBOURS.filter(([from]) => from === folder).map(([, to]) => to);
    return {
      name: `${folder}-knows-no-neighbour`,
      severity: 'error',
      comment: 'a layer knows the contract below it, never its neighbours',
      from: { path: folders([folder]) },
      to: { path: folders(level.filter((other) => other !== folder && !allowed.includes(other))) },
    };
  }),
);

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      severity: 'error',
      comment: 'neither of the two can be understood, tested or changed alone',
      from: {},
      to: { circular: true },
    },
    {
      name: 'root-of-src-is-below-all',
      severity: 'error',
      comment: 'errors.ts and its like are for every layer, and know none',
      from: { path: '^src/[^/]+$' },
      to: { path: '^(src|commands)/', pathNot: '^src/[^/]+$' },
    },
    {
      name: 'src-never-imports-commands',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^commands/' },
    },
    {
      name: 'cli-is-for-commands',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/cli/' },
      to: { path: '^src/cli/' },
    },
    {
      name: 'every-folder-has-its-level',
      severity: 'error',
      comment: 'a new folder of src/ is entered in LEVELS above',
      from: { path: '^src/', pathNot: [folders(LEVELS.flat()), '^src/[^/]+$'] },
      to: {},
    },
    {
      name: 'tests-stay-outside',
      severity: 'error',
      from: { path: '^(src|commands)/' },
      to: { path: '^test/' },
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'declared-dependencies',
      severity: 'error',
      comment: 'what is installed with holdfast is in dependencies or optionalDependencies',
      from: { path: '^(src|commands)/' },
      to: { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'] },
    },
    ...upwards,
    ...sideways,
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '\\.as\\.ts$' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
    },
  },
};
