import { hostname } from 'node:os';
import { join } from 'node:path';
import { certifyMachines } from '../jobs/certify-machines.js';
import { certifyOcspSigners } from '../jobs/certify-ocsp-signers.js';
import { consumeLedger } from '../jobs/consume-ledger.js';
import { makeDeadLetters } from '../jobs/dead-letters.pg.js';
import { housekeeping } from '../jobs/housekeeping.pg.js';
import { jobHandling } from '../jobs/job-catalogue.js';
import { type Loop, startLeasedLoop, startLoop } from '../jobs/loop.js';
import { ocspCertificates } from '../jobs/ocsp-certificates.pg.js';
import { renewalBook } from '../jobs/renewal-book.pg.js';
import { renewalJobs } from '../jobs/renewal-jobs.js';
import { DORMANCY_LEASE, OUTAGE_HOLDER, OUTAGE_MS_MIN, restSilentUnits } from '../jobs/rest-silent-units.js';
import { makeRenewalScan, RENEWAL_SCAN_LEASE } from '../jobs/scan-renewals.js';
import { silentUnits } from '../jobs/silent-units.pg.js';
import { reconcile } from '../lifecycle/issuance/index.js';
import { issuanceStore } from '../lifecycle/issuance/issuance-store.pg.js';
import { pgTaskStore } from '../lifecycle/renewal/task-store.pg.js';
import { type Config, shardsInCertificates } from '../platform/config/config.js';
import type { DataPaths } from '../platform/data-directory.js';
import { beatHeart } from '../platform/db/heartbeat.pg.js';
import { makeLeases } from '../platform/db/lease.pg.js';
import { FemtoError } from '../platform/errors.js';
import { type Hierarchy, hierarchyPath, readHierarchy } from '../platform/hsm/hierarchy.js';
import { anchorPending } from '../platform/ledger/anchors.pg.js';
import { cursors } from '../platform/ledger/cursors.pg.js';
import { fileDropAnchor } from '../platform/ledger/file-drop-anchor.js';
import { HEADS_LEASE } from '../platform/ledger/heads.js';
import { makeAuditHeads } from '../platform/ledger/heads.pg.js';
import { SEQUENCE_ENTRIES_MAX, SEQUENCER_LEASE } from '../platform/ledger/sequencer.js';
import { makeSequencer } from '../platform/ledger/sequencer.pg.js';
import type { Logger } from '../platform/log.js';
import type { Probes } from '../platform/probes.js';
import { openLate } from '../platform/queue/late-queue.js';
import { openQueue } from '../platform/queue/queue.bullmq.js';
import type { Signer } from '../platform/signer.js';
import { makeCrlDirectory } from '../protocol/crl/crl-directory.js';
import { sharedKeyFile } from './shared-key-file.js';
import { openConfiguredGeo } from './wire-admission.js';
import type { Core } from './wire-core.js';
import { wireEnrol } from './wire-enrol.js';
import { wireIssuance } from './wire-issuance.js';
import { CASES_LOOK_MS, caseClock } from './worker-cases.js';
import { ceremonyWatch } from './worker-ceremonies.js';
import { ledgerConsumers } from './worker-consumers.js';
import { crlStoreLoops } from './worker-crl-store.js';
import { CRLS_EVERY_MS, crlPublication } from './worker-crls.js';
import { GATEWAYS_LOOK_MS, gatewayWatch } from './worker-gateways.js';
import { showWorker } from './worker-metrics.js';
import { TRAFFIC_LEASE, TRAFFIC_LOOK_MS, trafficWatch } from './worker-traffic.js';

export interface WorkerWiring {
  readonly core: Core;
  readonly signer: Signer;
  readonly config: Config & { readonly databaseUrl: string };
  readonly paths: DataPaths;
  readonly log: Logger;
  readonly probes: Probes;
  /** Pre-issue for units whose profile says so: tests and the story only, until attested keys are checked (KEY-7). */
  readonly preissueAllowed: boolean;
}

export interface RunningWorker {
  close(graceMs: number): Promise<void>;
}

const SEQUENCE_EVERY_MS = 200;
const HEAD_EVERY_MS = 60_000;
/** How often the head's loop looks; until the first head is signed each look tries. */
const HEAD_LOOK_MS = 2_000;
const SCAN_EVERY_MS = 5_000;
const HOUR_MS = 3_600_000;
const CLOSING_CAS_EVERY_MS = 600_000;
/** Runs that hold a lease for longer than the next run is away prove it in each transaction; this bounds a dead holder. */
const LONG_LEASE_MS = 60_000;

/** Every loop of the rotation worker. Any number of workers may run: what must be done by one holds a fenced lease. */
export async function startWorker(wiring: WorkerWiring): Promise<RunningWorker> {
  const { core, config, paths, log, signer } = wiring;
  const { transactor, clock, ledger } = core;
  const leases = makeLeases(transactor);
  const holder = `rotation-worker:${hostname()}:${process.pid}`;
  const alarm = (what: string, facts: Record<string, unknown>): void => log.error({ alarm: true, ...facts }, what);
  const onError = (loop: string, error: unknown): void => reportLoop(log, loop, error);
  const hierarchy = readHierarchy(hierarchyPath(paths.root));
  const operator = hierarchy.operator;

  const issuance = wireIssuance(core, {
    signer,
    operator,
    statusUrl: config.publicUrls.status,
    crlShards: shardsInCertificates(config),
    renewal: config.renewal,
    alarm,
  });
  const rooms = wireEnrol(core, {
    issuance,
    nonceKey: sharedKeyFile(join(paths.secrets, 'nonce.key')),
    preissueAllowed: wiring.preissueAllowed,
    alarm,
  });
  const queue = await openLate({
    open: () =>
      openQueue({
        ...(config.redisUrl !== undefined && { redisUrl: config.redisUrl }),
        databaseUrl: config.databaseUrl,
        onError: (err) => log.warn({ err }, 'queue connection'),
        onWarning: (sentence) => log.warn(sentence),
      }),
    onAway: (err) => log.warn({ err }, 'the queue is away; what is due waits in its rows'),
  });

  const ceremonies = ceremonyWatch(core, hierarchyPath(paths.root));
  const sequencer = makeSequencer({ transactor, leases });
  const audit = auditEntry(hierarchy);
  const heads = makeAuditHeads({
    transactor,
    leases,
    signer,
    ledger,
    clock,
    installation: hierarchy.installation,
    auditKeyLabel: audit.keyLabel,
    auditCertificate: audit.certificatePem,
  });
  const anchors = {
    transactor,
    leases,
    target: fileDropAnchor(paths.anchors),
    clock,
    certificates: chainPems(hierarchy, audit.label),
  };
  const files = makeCrlDirectory(paths.crl);
  const geo = await openConfiguredGeo(config, core, log);
  const renewals = { transactor, tasks: pgTaskStore, book: renewalBook, ledger, queue, clock };
  const scanRenewals = makeRenewalScan(renewals);

  const alone = { leases, holder, onError };
  let headSignedAtMs = Number.NEGATIVE_INFINITY;
  const loops: Loop[] = [
    startLeasedLoop({
      ...alone,
      name: SEQUENCER_LEASE,
      everyMs: SEQUENCE_EVERY_MS,
      run: async (lease) => (await sequencer.sequenceOnce(lease)).taken === SEQUENCE_ENTRIES_MAX,
    }),
    startLeasedLoop({
      ...alone,
      name: HEADS_LEASE,
      everyMs: HEAD_LOOK_MS,
      leaseMs: LONG_LEASE_MS + HEAD_EVERY_MS,
      run: async (lease) => {
        if (clock.now().getTime() - headSignedAtMs < HEAD_EVERY_MS) return undefined;
        if ((await heads.signHead(lease)) !== null) headSignedAtMs = clock.now().getTime();
        const { failure, waiting } = await anchorPending(anchors, lease);
        if (failure)
          alarm('audit heads cannot leave the host', { target: anchors.target.name, waiting, error: failure.message });
        return undefined;
      },
    }),
    startLoop({
      name: 'heartbeat',
      everyMs: 1_000,
      onError,
      run: async () => {
        const { missedMs } = await beatHeart(transactor.read);
        if (missedMs > OUTAGE_MS_MIN) {
          // Units that could not reach us while we were away get the same time to do so.
          await leases.acquire(DORMANCY_LEASE, OUTAGE_HOLDER, missedMs);
          alarm('the installation was away', { seconds: Math.round(missedMs / 1_000) });
        }
        return undefined;
      },
    }),
    startLoop({
      name: 'reconciler',
      everyMs: SCAN_EVERY_MS,
      onError,
      run: async () => {
        const abandoned = await reconcile({ ...core, store: issuanceStore });
        if (abandoned > 0) alarm('attempts that were never recorded are revoked', { abandoned });
        return undefined;
      },
    }),
    startLoop({
      name: 'crl-publication',
      everyMs: CRLS_EVERY_MS,
      onError,
      run: crlPublication({ core, leases, signer, files, holder, config, log, alarm }),
    }),
    ...crlStoreLoops({ config, paths, clock, log, alarm, onError, registry: wiring.probes.registry }),
    startLeasedLoop({ ...alone, name: 'gateway-watch', everyMs: GATEWAYS_LOOK_MS, run: gatewayWatch(core, log) }),
    startLeasedLoop({ ...alone, name: 'case-clock', everyMs: CASES_LOOK_MS, run: caseClock(core, log) }),
    startLeasedLoop({
      ...alone,
      name: TRAFFIC_LEASE,
      everyMs: TRAFFIC_LOOK_MS,
      leaseMs: LONG_LEASE_MS,
      run: trafficWatch(core, { leases, geo, alarm }),
    }),
    startLeasedLoop({
      ...alone,
      name: RENEWAL_SCAN_LEASE,
      everyMs: SCAN_EVERY_MS,
      leaseMs: LONG_LEASE_MS,
      run: async (lease) => {
        const { dispatched, isAway } = await scanRenewals(lease);
        if (dispatched > 0) log.info({ dispatched }, 'renewals');
        if (isAway) log.warn('the queue is away; renewals wait in their rows');
        return undefined;
      },
    }),
    startLeasedLoop({
      ...alone,
      name: 'services-certificates',
      everyMs: 500,
      leaseMs: LONG_LEASE_MS,
      run: async () => {
        const certified = await certifyMachines({
          machines: core.machines,
          issuance,
          servicesLifeSeconds: config.lives.servicesSeconds,
          onRefused: ({ name }, error) => log.warn({ machine: name, err: error }, 'machine not certified'),
        });
        if (certified > 0) log.info({ certified }, 'services certificates');
        return undefined;
      },
    }),
    startLeasedLoop({
      ...alone,
      name: 'ocsp-signers',
      everyMs: 600_000,
      leaseMs: LONG_LEASE_MS,
      run: async (lease) => {
        const deps = {
          ...core,
          leases,
          signer,
          operator,
          store: ocspCertificates,
          lifeSeconds: config.lives.ocspSignerSeconds,
        };
        for (const issuer of await certifyOcspSigners(deps, lease)) log.info({ issuer }, 'OCSP signer certified');
        return undefined;
      },
    }),
    startLeasedLoop({
      ...alone,
      name: 'ceremonies',
      everyMs: SCAN_EVERY_MS,
      run: async () => {
        const entered = await ceremonies();
        if (entered.length > 0) log.info({ entered }, 'a ceremony was held; its CAs are spares');
        return undefined;
      },
    }),
    startLeasedLoop({
      ...alone,
      name: 'closing-cas',
      everyMs: CLOSING_CAS_EVERY_MS,
      leaseMs: LONG_LEASE_MS,
      run: async () => {
        for (const ca of await core.caOffice.settleClosing())
          log.info({ ca }, 'the last certificate of a CA has ended');
        return undefined;
      },
    }),
    startLeasedLoop({
      ...alone,
      name: DORMANCY_LEASE,
      everyMs: HOUR_MS,
      leaseMs: LONG_LEASE_MS,
      run: async (lease) => {
        const rested = await restSilentUnits(
          { transactor, leases, registry: core.registry, units: silentUnits, clock },
          lease,
        );
        if (rested.dormant + rested.suspended > 0) log.info(rested, 'silent units');
        return undefined;
      },
    }),
    startLeasedLoop({
      ...alone,
      name: 'housekeeping',
      everyMs: HOUR_MS,
      leaseMs: LONG_LEASE_MS,
      run: async () => {
        await housekeeping.ensurePartitions(transactor.read);
        const removed = await housekeeping.purge(transactor.read);
        if (Object.keys(removed).length > 0) log.info(removed, 'purged');
        return undefined;
      },
    }),
    ...ledgerConsumers(core, log).map((consumer) =>
      startLeasedLoop({
        ...alone,
        name: `consumer-${consumer.name}`,
        everyMs: 250,
        run: () => consumeLedger({ transactor, cursors }, consumer),
      }),
    ),
  ];
  const deadLetters = makeDeadLetters({ transactor, ledger, clock, queue: 'femtopki', alarm });
  const worker = queue.process(jobHandling(renewalJobs({ ...renewals, renewal: rooms.renewal }), deadLetters));
  showWorker(wiring.probes, { read: transactor.read, feed: core.feed, loops });
  wiring.probes.addCheck('queue', async () => {
    const { ok, detail } = await queue.health();
    return ok ? undefined : detail;
  });

  return {
    close: async (graceMs) => {
      await Promise.all([worker.close(graceMs), ...loops.map((loop) => loop.stop())]);
      await queue.close();
      geo.close();
      await issuance.close();
      await rooms.refusals.close();
    },
  };
}

function auditEntry(hierarchy: Hierarchy): Hierarchy['entries'][number] {
  const entry = hierarchy.entries.find(({ kind }) => kind === 'audit');
  if (entry) return entry;
  throw new FemtoError('INTERNAL', 'The hierarchy has no audit key; hold the ceremony again with one.');
}

/** The certificate with this label, then its issuers up to the root. */
function chainPems(hierarchy: Hierarchy, label: string): string[] {
  const entry = hierarchy.entries.find((candidate) => candidate.label === label);
  if (!entry) return [];
  return entry.issuerLabel === label
    ? [entry.certificatePem]
    : [entry.certificatePem, ...chainPems(hierarchy, entry.issuerLabel)];
}

/** A lease that passed on and a token that is away are ordinary; everything else wants eyes. */
function reportLoop(log: Logger, loop: string, error: unknown): void {
  if (!(error instanceof FemtoError)) {
    log.error({ loop, err: error }, 'loop failed');
    return;
  }
  const { code, facts } = error;
  if (code === 'STATE_CONFLICT') log.info({ loop, facts }, error.message);
  else if (code === 'HSM_UNAVAILABLE' || code === 'RETRY_LATER') log.warn({ loop, code }, error.message);
  else log.error({ alarm: true, loop, code, facts }, error.message);
}
