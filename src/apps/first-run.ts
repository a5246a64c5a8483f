/**
 * What an installation needs before its processes start, made once: the key ceremony, our CAs in the database, the
 * first two people, the rows of our own servers. Reachable by nobody; signs with the roots, once, through the ceremony.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadHierarchy } from '../lifecycle/registry/index.js';
import { issuerStore } from '../lifecycle/registry/issuer-store.pg.js';
import { personStore } from '../operator/people/person-store.prisma.js';
import { openPrisma } from '../platform/db/client.prisma.js';
import type { Transactor } from '../platform/db/transaction.js';
import { transactorOf } from '../platform/db/transaction.pg.js';
import { FemtoError } from '../platform/errors.js';
import { hierarchyPath, readHierarchy } from '../platform/hsm/hierarchy.js';
import { ceremonyWithTokens } from './ceremony.js';
import { inviteFirstPeople } from './first-people.js';
import type { FirstRunReport, InstallationContext } from './installation-context.js';
import { approveOwnMachines } from './own-machines.js';
import { wireCore } from './wire-core.js';

const DEMO_CEREMONY = fileURLToPath(new URL('../../hsm-config/ceremony/demo.yaml', import.meta.url));

/** Before any process starts. Each part is harmless where it has been done; a crash between two is made good next time. */
export async function firstRun(context: InstallationContext): Promise<FirstRunReport> {
  const { config, paths } = context;
  const isFirst = !existsSync(hierarchyPath(paths.root));
  const closing = isFirst ? [await holdDemoCeremony(context)] : [];
  const { transactor, machines, clock } = wireCore(transactorOf(context.pool));
  const prisma = openPrisma(config.databaseUrl);
  try {
    await enterHierarchy(transactor, paths.root, clock.now());
    const people = personStore(prisma);
    const place = { secretsDir: paths.secrets, operatorUrl: config.publicUrls.operator };
    closing.push(...(await inviteFirstPeople({ people, clock }, place)));
    const approver = await people.byName('approver');
    if (config.mode === 'demo' && approver) {
      await approveOwnMachines(machines, config, { tlsDir: paths.tls, personId: approver.id });
    }
  } finally {
    await prisma.$disconnect();
  }
  return { isFirst, closing };
}

async function holdDemoCeremony({ config, paths, step, say }: InstallationContext): Promise<string> {
  if (config.mode === 'production') {
    throw new FemtoError(
      'STATE_CONFLICT',
      `${paths.root} has no CA hierarchy, and production never makes one by itself: hold the key ceremony ("npx femtopki ca init --help"), then start again.`,
    );
  }
  const outcome = await step('key ceremony', async () =>
    ceremonyWithTokens(
      {
        file: DEMO_CEREMONY,
        dataDir: paths.root,
        module: { path: config.pkcs11.module, environment: {} },
        mode: config.mode,
        baseUrls: { status: config.publicUrls.status },
        operator: config.operator,
        realm: config.realm,
      },
      ({ number, of, text }) => say(`  ceremony ${number}/${of}: ${text}`),
    ),
  );
  return `Demo ceremony, held by one person with software tokens; its transcript: ${outcome.transcriptPath}`;
}

/** The database learns the CAs from the ceremony's file; entering the same again changes nothing. */
async function enterHierarchy(transactor: Transactor, dataDir: string, createdAt: Date): Promise<void> {
  const hierarchy = readHierarchy(hierarchyPath(dataDir));
  await transactor.run((tx) => loadHierarchy({ issuers: issuerStore }, tx, hierarchy, createdAt));
}

/** Once the signer is ready: the worker certifies our servers by the rows that stand; nothing is left to do here. */
export async function ensureServices(_context: InstallationContext): Promise<void> {}
