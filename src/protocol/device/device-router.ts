import type { IncomingMessage, ServerResponse } from 'node:http';
import { z } from 'zod';
import type { Enrolment, IssuedAnswer } from '../../lifecycle/enrolment/index.js';
import type { Issuer } from '../../lifecycle/model/index.js';
import type { RootSuccession } from '../../lifecycle/registry/index.js';
import type { Renewal } from '../../lifecycle/renewal/index.js';
import { FemtoError } from '../../platform/errors.js';
import { certificatePem } from '../../x509/certificate.js';
import { bytesOfBase64 } from '../../x509/pem.js';
import { readJsonBody } from '../rest/body.js';
import { problemOf, sendProblem } from '../rest/problem.js';
import {
  answerDeviceCall,
  blockingExposedKeys,
  type DeviceCall,
  type DeviceCallDeps,
  provedCaller,
} from './device-call.js';

export interface DeviceRouterDeps extends DeviceCallDeps {
  readonly enrolment: Pick<Enrolment, 'authenticate' | 'issueNonce' | 'activate'>;
  readonly renewal: Pick<Renewal, 'renew' | 'confirm' | 'advise' | 'pickUp'>;
  /** Issuing CA first, root last, DER. */
  readonly chainOf: (issuerId: number) => Promise<readonly Buffer[]>;
  readonly roots: () => Promise<{ readonly deviceChains: readonly Issuer[]; readonly servicesRoot: Issuer | null }>;
  /** Access Roots in use, oldest first, and how each came from the one before. */
  readonly anchors: () => Promise<{ readonly roots: readonly Issuer[]; readonly links: readonly RootSuccession[] }>;
  /** Where the unit serves; null before it has a cell. */
  readonly placeOf: (unitId: number) => Promise<{ readonly cell: string; readonly segw: string } | null>;
}

/**
 * The device API, `/v1`. Public paths expose time, advice, enrol, renew and status, nothing else (ENR-4); the callers' own
 * list of steps is: limits, peer certificate, body, use-case, one of four words on refusal.
 */
export function makeDeviceRouter(deps: DeviceRouterDeps) {
  return (request: IncomingMessage, response: ServerResponse): Promise<void> =>
    answerDeviceCall(deps, request, {
      answer: async (call) => sendJson(response, await routeOf(call.path, request.method ?? '').answer(deps, call)),
      refuse: (error, traceId) => sendProblem(response, problemOf(error, 'device', traceId)),
    });
}

interface Route {
  readonly method: 'GET' | 'POST';
  readonly answer: (deps: DeviceRouterDeps, call: DeviceCall) => Promise<object>;
}

const ROUTES: Readonly<Record<string, Route>> = {
  '/v1/nonce': { method: 'GET', answer: nonce },
  '/v1/activate': { method: 'POST', answer: activate },
  '/v1/renew': { method: 'POST', answer: renew },
  '/v1/confirm': { method: 'POST', answer: confirm },
  '/v1/advice': { method: 'GET', answer: advice },
  '/v1/pickup': { method: 'POST', answer: pickUp },
  '/v1/anchors': { method: 'GET', answer: anchors },
  '/v1/ca': { method: 'GET', answer: ca },
};

function routeOf(path: string, method: string): Route {
  const route = Object.hasOwn(ROUTES, path) ? ROUTES[path] : undefined;
  if (route === undefined) {
    throw new FemtoError('BAD_REQUEST', 'There is no such path; see the device API.', { facts: { status: 404 } });
  }
  if (route.method !== method) {
    throw new FemtoError('BAD_REQUEST', `The path wants ${route.method}.`, { facts: { status: 405 } });
  }
  return route;
}

async function nonce(deps: DeviceRouterDeps, call: DeviceCall): Promise<object> {
  const { certificate } = await provedCaller(deps, call);
  const { nonce: text, expiresAt } = deps.enrolment.issueNonce(certificate.spki);
  return { nonce: text, expiresAt: expiresAt.toISOString() };
}

const activationBody = z.strictObject({
  csr: z.string().min(1).max(24_576),
  code: z.string().min(1).max(64).optional(),
});

async function activate(deps: DeviceRouterDeps, call: DeviceCall): Promise<object> {
  const credential = await provedCaller(deps, call);
  const { csr, code } = await readJsonBody(call.request, activationBody);
  const issued = await blockingExposedKeys(deps, csr, credential, () =>
    deps.enrolment.activate({
      credential,
      csr,
      code: code ?? null,
      idempotencyKey: idempotencyKey(call.request),
      freshness: { by: 'nonce' },
    }),
  );
  const place = await deps.placeOf(credential.unit.id);
  return { ...(await issuedBody(deps, issued)), ...place };
}

const renewalBody = z.strictObject({
  csr: z.string().min(1).max(24_576),
  predecessorSignature: z.string().min(1).max(256),
});

async function renew(deps: DeviceRouterDeps, call: DeviceCall): Promise<object> {
  const credential = await provedCaller(deps, call);
  const { csr, predecessorSignature } = await readJsonBody(call.request, renewalBody);
  const issued = await blockingExposedKeys(deps, csr, credential, () =>
    deps.renewal.renew({
      credential,
      csr,
      predecessorSignature: bytesOfBase64(predecessorSignature, 'predecessorSignature'),
      idempotencyKey: idempotencyKey(call.request),
      freshness: { by: 'nonce' },
    }),
  );
  return issuedBody(deps, issued);
}

async function confirm(deps: DeviceRouterDeps, call: DeviceCall): Promise<object> {
  const credential = await provedCaller(deps, call);
  const { generation, state, lineageToken } = await deps.renewal.confirm({ credential });
  return { generation, state, ...(lineageToken === null ? {} : { lineageToken }) };
}

async function advice(deps: DeviceRouterDeps, call: DeviceCall): Promise<object> {
  const credential = await provedCaller(deps, call);
  const { renewFrom, renewUntil, ...rest } = await deps.renewal.advise({ credential });
  return { renewFrom: renewFrom.toISOString(), renewUntil: renewUntil.toISOString(), ...rest };
}

const pickUpBody = z.strictObject({ lineageToken: z.string().max(128).optional() });

async function pickUp(deps: DeviceRouterDeps, call: DeviceCall): Promise<object> {
  const credential = await provedCaller(deps, call);
  const { lineageToken } = await readJsonBody(call.request, pickUpBody);
  return issuedBody(deps, await deps.renewal.pickUp({ credential, lineageToken: lineageToken ?? null }));
}

/** Public keys for everybody: no peer certificate is asked for. */
async function ca(deps: DeviceRouterDeps): Promise<object> {
  const { deviceChains, servicesRoot } = await deps.roots();
  return {
    chain: deviceChains.map(({ certificateDer }) => certificatePem(certificateDer)).join(''),
    servicesRoot: servicesRoot === null ? '' : certificatePem(servicesRoot.certificateDer),
  };
}

/**
 * The Access Roots, and each one's certificate under the one before it: who trusts any of them comes to all that follow,
 * however long it was away (RFC 4210 section 4.4). Public, and believed for the signatures alone.
 */
async function anchors(deps: DeviceRouterDeps): Promise<object> {
  const { roots, links } = await deps.anchors();
  return {
    roots: roots.map(({ certificateDer }) => certificatePem(certificateDer)).join(''),
    newWithOld: links.map(({ newWithOld }) => certificatePem(newWithOld)).join(''),
    // Only who trusts a new root and meets an old certificate wants it: the last one is enough.
    oldWithNew: links
      .slice(-1)
      .map(({ oldWithNew }) => certificatePem(oldWithNew))
      .join(''),
  };
}

function idempotencyKey({ headers }: IncomingMessage): string {
  const key = headers['idempotency-key'];
  if (typeof key === 'string') return key;
  throw new FemtoError('BAD_REQUEST', 'The header Idempotency-Key is missing; choose one for each new request.');
}

async function issuedBody(
  deps: DeviceRouterDeps,
  { certificate, generation, renewFrom, renewUntil }: IssuedAnswer,
): Promise<object> {
  const chain = await deps.chainOf(certificate.issuerId);
  return {
    certificate: certificatePem(certificate.der),
    chain: chain.map(certificatePem).join(''),
    generation,
    renewFrom: renewFrom.toISOString(),
    renewUntil: renewUntil.toISOString(),
  };
}

/** Small units read answers into a fixed buffer (ENR-4). */
const ANSWER_BYTES_MAX = 8_192;

function sendJson(response: ServerResponse, body: object): void {
  const text = `${JSON.stringify(body)}\n`;
  if (Buffer.byteLength(text) > ANSWER_BYTES_MAX) {
    throw new FemtoError('INTERNAL', 'An answer outgrew 8 KiB; shorten the chain.');
  }
  response
    .writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
    })
    .end(text);
}
