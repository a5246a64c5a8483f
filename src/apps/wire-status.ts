import type { IncomingMessage, ServerResponse } from 'node:http';
import type { IssuerDirectory } from '../lifecycle/registry/index.js';
import { crlPartStore } from '../lifecycle/status/crl-part-store.pg.js';
import { crlStore } from '../lifecycle/status/crl-store.pg.js';
import { CRL_CHANNEL, makeIndexedStatusReader, STATUS_CHANNEL, StatusIndex } from '../lifecycle/status/index.js';
import { statusChangeReader } from '../lifecycle/status/status-changes.pg.js';
import { statusIndexSource } from '../lifecycle/status/status-index-source.pg.js';
import { makeStatusReader, ocspSignerStore } from '../lifecycle/status/status-reader.pg.js';
import type { Clock } from '../platform/clock.js';
import { listenOn } from '../platform/db/notifications.pg.js';
import { hasReplayed, primaryPosition } from '../platform/db/replication.pg.js';
import type { Transactor } from '../platform/db/transaction.js';
import type { Signer } from '../platform/signer.js';
import { handleCrl } from '../protocol/crl/crl-http.js';
import { type CrlShelf, makeCrlShelf } from '../protocol/crl/crl-shelf.js';
import { handleOcsp, type OcspEvent } from '../protocol/ocsp/ocsp-http.js';
import { makeOcspResponder, type OcspResponder } from '../protocol/ocsp/ocsp-responder.js';
import { makeResponderDirectory, type ResponderDirectory } from '../protocol/ocsp/responder-directory.js';
import { type StatusWatch, startStatusWatch } from '../protocol/ocsp/status-watch.js';
import { handleTime, type TimeDeps } from '../protocol/time/time-http.js';

export interface StatusServiceDeps {
  /** What is read: the primary or a replica of it. */
  readonly transactor: Transactor;
  /** The primary, where `transactor` reads a replica. */
  readonly primary?: Transactor;
  /** The primary's: where notices come from. */
  readonly databaseUrl: string;
  readonly issuers: IssuerDirectory;
  readonly signer: Signer;
  readonly clock: Clock;
  readonly crlDirectories: readonly string[];
  /** What the ceremony left on this host: CAs, responders, the audit key. */
  readonly ceremonyCertificates: () => readonly { label: string; der: Buffer }[];
  readonly goodSeconds: number;
  readonly livePerSecond?: number;
  readonly time: TimeDeps;
  readonly onTrouble: (error: unknown) => void;
  readonly onEvent: (event: OcspEvent, request: IncomingMessage) => void;
}

export interface StatusService {
  handle(request: IncomingMessage, response: ServerResponse): void;
  readonly responder: OcspResponder;
  readonly directory: ResponderDirectory;
  readonly shelf: CrlShelf;
  readonly watch: StatusWatch;
  close(): Promise<void>;
}

/** Of files and of numbers in the database alike: what holds when no notice comes. */
const SHELF_EVERY_MS = 1_000;
const REFRESH_EVERY_MS = 1_000;
const DIRECTORY_EVERY_MS = 10_000;

/** OCSP, CRLs, CA certificates and time behind one handler. Starts with a database that is away, and goes on without it. */
export async function openStatusService(deps: StatusServiceDeps): Promise<StatusService> {
  const { transactor, primary, clock, onTrouble } = deps;
  let ceremony = deps.ceremonyCertificates();
  const directory = makeResponderDirectory({
    issuers: deps.issuers,
    signers: ocspSignerStore,
    transactor,
    clock,
    ceremonial: () => ceremony.map(({ der }) => der),
  });
  const watch = startStatusWatch({
    cache: {
      withdraw: (certificate) => responder.withdraw(certificate),
      withdrawAll: () => responder.withdrawAll(),
    },
    changes: statusChangeReader,
    source: statusIndexSource,
    index: new StatusIndex(),
    transactor,
    ...(primary !== undefined && {
      replication: {
        primaryPosition: () => primaryPosition(primary.read),
        hasReplayed: (position: string) => hasReplayed(transactor.read, position),
      },
    }),
    clock,
    onTrouble,
  });
  const responder = makeOcspResponder({
    directory,
    status: makeIndexedStatusReader(
      watch,
      makeStatusReader(transactor.read),
      clock,
      primary && makeStatusReader(primary.read),
    ),
    signer: deps.signer,
    clock,
    goodSeconds: deps.goodSeconds,
    ...(deps.livePerSecond !== undefined && { livePerSecond: deps.livePerSecond }),
    onTrouble,
  });
  const stopListening = listenOn(deps.databaseUrl, STATUS_CHANNEL, (payload) => watch.notice(payload), onTrouble);
  const shelf = makeCrlShelf({
    directories: deps.crlDirectories,
    newerCrls: async (known) => {
      const newer = await crlStore.newerThan(transactor.read, known);
      const newerParts = await crlPartStore.newerThan(transactor.read, known);
      return [
        ...newer.map(({ label, ...crl }) => ({ label, der: () => crlStore.der(transactor.read, crl) })),
        ...newerParts.map((part) => ({
          label: `${part.label}.${part.part}`,
          der: () => crlPartStore.der(transactor.read, part),
        })),
      ];
    },
    certificates: async () => {
      if (ceremony.length > 0 && !directory.isLoaded()) return ceremony;
      const recorded = await deps.issuers.all();
      return [...recorded.map(({ label, certificateDer }) => ({ label, der: certificateDer })), ...ceremony];
    },
    onTrouble,
  });
  // A replica may have heard of it later than we: the loop looks again.
  const stopHearingOfCrls = listenOn(deps.databaseUrl, CRL_CHANNEL, () => void shelf.refresh(), onTrouble);
  const loops = [
    every(
      DIRECTORY_EVERY_MS,
      async () => {
        ceremony = deps.ceremonyCertificates();
        await directory.refresh();
      },
      onTrouble,
    ),
    every(SHELF_EVERY_MS, () => shelf.refresh(), onTrouble),
    every(REFRESH_EVERY_MS, () => responder.refreshAhead(), onTrouble),
  ];
  await Promise.all(loops.map(({ first }) => first));

  return {
    handle: (request, response) => {
      if (handleOcsp(responder, request, response, (event) => deps.onEvent(event, request))) return;
      if (handleCrl(shelf, request, response)) return;
      if (handleTime(deps.time, request, response)) return;
      response.writeHead(404, { 'Content-Length': 0, 'Cache-Control': 'no-store', Connection: 'close' }).end();
    },
    responder,
    directory,
    shelf,
    watch,
    close: async () => {
      for (const { stop } of loops) stop();
      watch.close();
      await Promise.all([stopListening(), stopHearingOfCrls()]);
    },
  };
}

/** Runs again and again, each time `ms` after the last has ended; `first` resolves after the first run, well or ill. */
function every(
  ms: number,
  work: () => Promise<void>,
  onTrouble: (error: unknown) => void,
): { first: Promise<void>; stop: () => void } {
  let timer: NodeJS.Timeout | undefined;
  let isStopped = false;
  const run = async (): Promise<void> => {
    await work().catch(onTrouble);
    if (isStopped) return;
    timer = setTimeout(() => void run(), ms);
    timer.unref();
  };
  return {
    first: run(),
    stop: () => {
      isStopped = true;
      clearTimeout(timer);
    },
  };
}
