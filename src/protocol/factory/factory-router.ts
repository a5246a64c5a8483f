import type { IncomingMessage, ServerResponse } from 'node:http';
import express, { type NextFunction, type Request, type Response, type Router } from 'express';
import { z } from 'zod';
import {
  type FactoryCaller,
  type FactoryOffice,
  type FactoryRefusal,
  MANIFEST_BYTES_MAX,
} from '../../lifecycle/factory/index.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { parseStrictJson } from '../../platform/strict-json.js';
import { certificatePem } from '../../x509/certificate.js';
import { checkShape, JSON_BODY_BYTES_MAX, readBody, readJsonBody } from '../rest/body.js';
import { clientAddress } from '../rest/client-address.js';
import { type ProblemAnswer, problemOf, sendProblem, traceIdOf } from '../rest/problem.js';
import { BodySlots } from './body-slots.js';
import { answerRows, BULK_BYTES_MAX, type BulkRow, bulkLines } from './bulk-enrol.js';

export interface FactoryRouterDeps {
  readonly factory: Pick<FactoryOffice, 'submitManifest' | 'enrol' | 'closeOwnBatch' | 'stationCaller' | 'tokenCaller'>;
  /** The certificate of the request's TLS connection, whose handshake proved its key; null when there is none. */
  readonly peerOf: (request: IncomingMessage) => { readonly certificateDer: Buffer | null } | null;
  readonly recordRefusal: (refusal: FactoryRefusal) => Promise<void>;
  readonly trustedProxies: readonly string[];
  readonly onInternal: (error: unknown, traceId: string) => void;
}

/**
 * The factory API, mounted at `/v1/factory`: manifests by their makers' signature, enrolment and close-out by stations
 * (mTLS) or tokens. A step list for every route: limits, caller, credential, body, use-case; a refusal is on record before
 * it is answered. No answer names a cell or a gateway (REG-4).
 */
export function makeFactoryRouter(deps: FactoryRouterDeps): Router {
  const router = express.Router({ strict: true, caseSensitive: true });
  const slots = new BodySlots();
  const callOf = (request: Request, operation: FactoryRefusal['operation']): Call => ({
    request,
    address: clientAddress(request, deps.trustedProxies),
    traceId: traceIdOf(request),
    operation,
    actor: null,
    serialNumber: undefined,
    slots,
  });
  const route =
    (operation: FactoryRefusal['operation'], answer: Answer) => async (request: Request, response: ServerResponse) => {
      const call = callOf(request, operation);
      try {
        const { status, body } = await answer(deps, call);
        sendJson(response, status, body);
      } catch (thrown) {
        await refuse(deps, call, response, thrown);
      }
    };
  router.post('/manifests', route('manifest', submitManifest));
  router.post('/enrol', route('enrol', enrol));
  router.post('/enrol/bulk', async (request: Request, response: Response) => {
    const call = callOf(request, 'enrol');
    await enrolRows(deps, call, response).catch((thrown: unknown) => refuse(deps, call, response, thrown));
  });
  router.post('/batches/:batchId/close', route('close-batch', closeBatch));
  router.use(route('unknown', noSuchPath));
  // What Express itself cannot read, e.g. a path with a broken %-escape; its own page would name our files.
  router.use((_error: unknown, request: Request, response: Response, _next: NextFunction) =>
    refuse(deps, callOf(request, 'unknown'), response, new FemtoError('BAD_REQUEST', 'The path cannot be read.')),
  );
  return router;
}

/** The router as a listener of its own, for a server that is no Express application. */
export function makeFactoryListener(
  deps: FactoryRouterDeps,
): (request: IncomingMessage, response: ServerResponse) => void {
  const app = express();
  app.disable('x-powered-by').disable('etag').set('query parser', 'simple');
  app.use('/v1/factory', makeFactoryRouter(deps));
  return app;
}

interface Call {
  readonly request: Request;
  readonly address: string;
  readonly traceId: string;
  readonly operation: FactoryRefusal['operation'];
  readonly slots: BodySlots;
  /** Set once the caller is proved, so that a refusal afterwards is its own. */
  actor: string | null;
  serialNumber: string | undefined;
}

type Answer = (deps: FactoryRouterDeps, call: Call) => Promise<{ status: number; body: object }>;

/** As long as the TLS listener gives any request; 32 MiB need some 18 Mbit/s. */
const MANIFEST_TIMEOUT_MS = 15_000;

/** The maker's signature is the proof; a station's certificate only gives the upload a better place in the queue. */
async function submitManifest(deps: FactoryRouterDeps, call: Call): Promise<{ status: number; body: object }> {
  const { request } = call;
  const dryRun = dryRunOf(request);
  const peer = deps.peerOf(request)?.certificateDer ?? null;
  const station = peer === null ? null : await deps.factory.stationCaller({ certificateDer: peer });
  call.actor = station?.actor ?? null;
  const report = await call.slots.hold(station === null ? 'anonymous' : 'proved', async () => {
    const bytes = await readBody(request, {
      bytesMax: MANIFEST_BYTES_MAX,
      mediaType: 'application/jose',
      timeoutMs: MANIFEST_TIMEOUT_MS,
    });
    const jws = bytes.toString('latin1').trim();
    return deps.factory.submitManifest({ jws, dryRun, ...(station === null ? {} : { actor: station.actor }) });
  });
  return { status: dryRun ? 200 : 201, body: report };
}

const enrolBody = z.strictObject({
  // Canonical form only: what is not written as on the manifest is refused, not corrected (REG-1).
  serialNumber: z.string().regex(/^[A-Z0-9-]{4,32}$/),
  csr: z.string().min(1).max(24_576),
});

async function enrol(deps: FactoryRouterDeps, call: Call): Promise<{ status: number; body: object }> {
  const caller = await provedCaller(deps, call);
  const { serialNumber, csr } = await readJsonBody(call.request, enrolBody);
  call.serialNumber = serialNumber;
  const { certificate, chain, repeated } = await deps.factory.enrol({
    caller,
    address: call.address,
    serialNumber,
    csr,
  });
  return {
    status: repeated ? 200 : 201,
    body: {
      serialNumber,
      certificate: certificatePem(certificate.der),
      chain: chain.map(certificatePem).join(''),
      notAfter: certificate.notAfter.toISOString(),
      repeated,
    },
  };
}

/** Many rows of `/enrol` by one caller. Each stands alone: its limits, its refusal on record, its own line of the answer. */
async function enrolRows(deps: FactoryRouterDeps, call: Call, response: ServerResponse): Promise<void> {
  const caller = await provedCaller(deps, call);
  await call.slots.hold('bulk', async () => {
    const bytesMax = BULK_BYTES_MAX;
    const lines = bulkLines(await readBody(call.request, { bytesMax, mediaType: 'application/x-ndjson' }));
    await answerRows(response, lines, (line) => enrolRow(deps, { ...call }, caller, line));
  });
}

async function enrolRow(deps: FactoryRouterDeps, call: Call, caller: FactoryCaller, line: Buffer): Promise<BulkRow> {
  try {
    const { serialNumber, csr } = checkShape(parseStrictJson(line, { bytesMax: JSON_BODY_BYTES_MAX }), enrolBody);
    call.serialNumber = serialNumber;
    const enrolment = await deps.factory.enrol({ caller, address: call.address, serialNumber, csr });
    return { ok: true, serialNumber, enrolment };
  } catch (thrown) {
    const { body } = await noteRefusal(deps, call, thrown);
    return { ok: false, serialNumber: call.serialNumber, problem: body };
  }
}

async function closeBatch(deps: FactoryRouterDeps, call: Call): Promise<{ status: number; body: object }> {
  const caller = await provedCaller(deps, call);
  const { batchId } = call.request.params;
  if (typeof batchId !== 'string' || !/^[1-9][0-9]{0,8}$/.test(batchId)) {
    throw new FemtoError('NOT_FOUND', 'There is no such batch; check its number.');
  }
  const { closedAt, ...report } = await deps.factory.closeOwnBatch({
    caller,
    batchId: Number(batchId),
    address: call.address,
  });
  return { status: 200, body: { ...report, closedAt: closedAt.toISOString() } };
}

async function noSuchPath(_deps: FactoryRouterDeps, { request }: Call): Promise<never> {
  const known = KNOWN_PATH.test(request.path);
  throw known
    ? new FemtoError('BAD_REQUEST', 'The path wants POST.', { facts: { status: 405 } })
    : new FemtoError('BAD_REQUEST', 'There is no such path; see the factory API.', { facts: { status: 404 } });
}

const KNOWN_PATH = /^\/(?:manifests|enrol|enrol\/bulk|batches\/[^/]+\/close)$/;

/** A token in the request speaks before the connection's certificate: it names the one credential it is for. */
async function provedCaller({ factory, peerOf }: FactoryRouterDeps, call: Call): Promise<FactoryCaller> {
  const { authorization } = call.request.headers;
  const certificateDer = peerOf(call.request)?.certificateDer ?? null;
  let caller: FactoryCaller;
  if (authorization !== undefined) {
    const token = /^Bearer ([A-Za-z0-9_.-]+)$/.exec(authorization)?.[1];
    if (token === undefined) throw new FemtoError('DENIED', 'The Authorization header is not a Bearer token.');
    caller = await factory.tokenCaller(token);
  } else if (certificateDer !== null) {
    caller = await factory.stationCaller({ certificateDer });
  } else {
    throw new FemtoError('UNREGISTERED', 'Show a station certificate or a token; see the factory API.');
  }
  call.actor = caller.actor;
  return caller;
}

function dryRunOf({ query }: Request): boolean {
  const { dryRun, ...others } = query;
  const unknown = Object.keys(others).length > 0;
  if (unknown || (dryRun !== undefined && dryRun !== '1' && dryRun !== '0')) {
    throw new FemtoError('BAD_REQUEST', 'The only query parameter is dryRun, 0 or 1.');
  }
  return dryRun === '1';
}

async function refuse(deps: FactoryRouterDeps, call: Call, response: ServerResponse, thrown: unknown): Promise<void> {
  sendProblem(response, await noteRefusal(deps, call, thrown));
}

/** On record first; then the answer as its caller may see it. */
async function noteRefusal(deps: FactoryRouterDeps, call: Call, thrown: unknown): Promise<ProblemAnswer> {
  const error = asFemtoError(thrown);
  const { operation, address, traceId, serialNumber } = call;
  if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
  const { maker } = error.facts;
  const actor = typeof maker === 'string' ? `maker:${maker}` : call.actor;
  const named = serialNumber === undefined ? {} : { serialNumber };
  await deps
    .recordRefusal({ actor, operation, error, address, traceId, ...named })
    .catch((failure: unknown) => deps.onInternal(failure, traceId));
  // Whoever has proved nothing learns nothing but one of four words.
  return problemOf(error, actor === null ? 'device' : 'factory', traceId);
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
    })
    .end(text);
}
