/**
 * Who may import whom. Each room of the lifecycle has one front door (its index.ts), data flows one way, and the
 * technology is in the file name: what a file may touch can be read from its path.
 */
const ROOMS = [
  'model',
  'registry',
  'factory',
  'enrolment',
  'lineage',
  'issuance',
  'renewal',
  'revocation',
  'status',
  'feed',
  'admission',
  'detection',
  'incident',
];

/** Room → rooms it may ask. Everybody may use the model; links may be skipped, never reversed. */
const MAY_ASK = {
  model: [],
  registry: [],
  factory: ['issuance', 'lineage', 'registry', 'revocation', 'status'],
  enrolment: ['issuance', 'lineage', 'registry', 'revocation', 'status'],
  renewal: ['issuance', 'lineage', 'registry', 'revocation', 'status'],
  issuance: ['lineage', 'registry', 'revocation', 'status'],
  lineage: ['registry', 'revocation', 'status'],
  revocation: ['status', 'registry'],
  status: [],
  feed: [],
  admission: ['lineage', 'revocation', 'registry'],
  detection: ['revocation', 'registry', 'incident'],
  incident: [],
};

/** An adapter: one technology, named in the file's suffix. Only src/apps may choose one. */
const ADAPTER = '\\.(pg|prisma|pkcs11|bullmq)\\.ts$';

const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

const directions = ROOMS.map((room) =>
  forbid(
    `direction-${room}`,
    `${room} may ask ${['model', ...MAY_ASK[room]].join(', ')} and nobody else`,
    // An adapter of a room writes that room's tables; it follows the same direction.
    { path: `^src/lifecycle/${room}/` },
    { path: '^src/lifecycle/', pathNot: `^src/lifecycle/(${[room, 'model', ...MAY_ASK[room]].join('|')})/` },
  ),
);

const technology = (name, packages, files) =>
  forbid(
    `technology-${name}`,
    `${packages} may be imported only where the file name says so`,
    { path: '^src/', pathNot: files },
    { path: `(^|/)node_modules/(${packages})/` },
  );

module.exports = {
  forbidden: [
    forbid(
      'no-cycles',
      'two files that need each other are one idea, or hide a third',
      { path: '^src/' },
      { circular: true },
    ),
    forbid(
      'x509-is-pure',
      'x509 imports nothing of ours but the error family and the types of the clock',
      { path: '^src/x509/' },
      { path: '^src/', pathNot: '^src/(x509/|platform/(errors|clock)\\.ts$)' },
    ),
    forbid(
      'x509-does-no-io',
      'DER in, values out: no files, network, processes, timers',
      { path: '^src/x509/' },
      {
        path: '^(node:)?(fs|fs/promises|net|tls|http|https|http2|dgram|dns|child_process|worker_threads|cluster|timers|timers/promises|os)$',
        dependencyTypes: ['core'],
      },
    ),
    forbid(
      'agent-is-a-device',
      'the reference device knows the wire formats only',
      { path: '^src/agent/' },
      { path: '^src/', pathNot: '^src/(agent/|x509/|platform/errors\\.ts$)' },
    ),
    forbid(
      'model-is-nouns',
      'the model adds only x509 and the error family',
      { path: '^src/lifecycle/model/' },
      { path: '^src/', pathNot: '^src/(lifecycle/model/|x509/|platform/(errors|clock)\\.ts$)' },
    ),
    ...directions,
    forbid(
      'front-door',
      'another room is asked through its index.ts',
      { path: '^src/lifecycle/([^/]+)/' },
      { path: '^src/lifecycle/', pathNot: ['^src/lifecycle/$1/', '^src/lifecycle/[^/]+/index\\.ts$'] },
    ),
    forbid(
      'front-door-from-the-rim',
      'protocol, operator, jobs and platform see front doors only',
      { path: '^src/(protocol|operator|jobs|platform)/' },
      { path: '^src/lifecycle/', pathNot: '^src/lifecycle/[^/]+/index\\.ts$' },
    ),
    forbid(
      'lifecycle-knows-no-rim',
      'wire shapes, screens, jobs and processes stay outside the lifecycle',
      { path: '^src/lifecycle/' },
      { path: '^src/(protocol|operator|jobs|apps|agent)/' },
    ),
    forbid(
      'platform-knows-no-product',
      'the platform serves the lifecycle and the rims, and knows none of them',
      { path: '^src/platform/' },
      { path: '^src/(protocol|operator|jobs|apps|agent)/' },
    ),
    forbid(
      'rims-apart',
      'protocol, operator and jobs never import one another; how REST reads bodies and says no is one thing for all rims',
      { path: '^src/(protocol|operator|jobs)/' },
      { path: '^src/(protocol|operator|jobs|agent)/', pathNot: '^src/($1|protocol/rest)/' },
    ),
    forbid(
      'nobody-imports-apps',
      'only apps choose real adapters and start processes',
      { path: '^src/', pathNot: '^src/apps/' },
      { path: '^src/apps/' },
    ),
    forbid(
      'adapters-are-chosen-by-apps',
      'un-suffixed files know interfaces, never an adapter',
      { path: '^src/', pathNot: ['^src/apps/', ADAPTER, '^src/platform/db/'] },
      { path: ADAPTER },
    ),
    technology('pkcs11', 'pkcs11js|@types/pkcs11js', '\\.pkcs11\\.ts$'),
    technology('prisma', '@prisma/[^/]+|prisma', '\\.prisma\\.ts$|^src/platform/db/generated/'),
    technology('bullmq', 'bullmq|ioredis', '\\.bullmq\\.ts$'),
    technology('pg', 'pg|@types/pg', '\\.pg\\.ts$|^src/platform/db/|^src/apps/'),
    forbid(
      'prisma-client-by-adapters',
      'the generated client is Prisma',
      { path: '^src/', pathNot: '\\.prisma\\.ts$|^src/platform/db/generated/' },
      { path: '^src/platform/db/generated/' },
    ),
    forbid('everything-resolves', 'an import that leads nowhere', { path: '^src/' }, { couldNotResolve: true }),
    forbid(
      'no-dev-dependencies',
      'what ships runs without development packages',
      { path: '^src/' },
      { dependencyTypes: ['npm-dev'], pathNot: '@types/' },
    ),
  ],
  options: {
    parser: 'swc',
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^src/platform/db/generated/internal' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default', 'types'] },
  },
};
