import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Enrolment, ProvedCredential } from '../../lifecycle/enrolment/index.js';
import type { UnitModel } from '../../lifecycle/registry/index.js';
import type { Renewal } from '../../lifecycle/renewal/index.js';
import { FemtoError } from '../../platform/errors.js';
import { keyRequestOf } from '../../x509/csr.js';
import {
  answerDeviceCall,
  blockingExposedKeys,
  type DeviceCall,
  type DeviceCallDeps,
  provedCaller,
} from '../device/device-call.js';
import { readBody } from '../rest/body.js';
import { readBasicCode } from './basic-code.js';
import { certsOnly } from './certs-only.js';
import { checkChannelBinding } from './channel-binding.js';
import { CSR_ATTRS } from './csr-attrs.js';
import { type EstPath, readEstPath } from './est-path.js';
import { type EstRefusal, estRefusalOf } from './est-status.js';

export interface EstRouterDeps extends DeviceCallDeps {
  readonly enrolment: Pick<Enrolment, 'authenticate' | 'activate'>;
  readonly renewal: Pick<Renewal, 'renew'>;
  /** What a unit needs to check servers and gateways, and to build its own chain; DER each, in any order. */
  readonly caCertificates: () => Promise<readonly Buffer[]>;
  readonly modelByLabel: (label: string) => Promise<Pick<UnitModel, 'makerId' | 'model'> | null>;
}

/**
 * EST, `/.well-known/est[/<label>]/<operation>`: the activation and renewal of `/v1` for clients that speak this already.
 * A code alone never yields a certificate (rules 3.2): who asks is known by the certificate of the TLS connection.
 *
 * @see RFC 7030; RFC 8951 for how bodies are written
 */
export function makeEstRouter(deps: EstRouterDeps) {
  return (request: IncomingMessage, response: ServerResponse): Promise<void> =>
    answerDeviceCall(deps, request, {
      answer: async (call) => {
        const path = await knownPath(deps, call.path);
        const { contentType, answer } = operationOf(path.operation, request.method ?? '');
        sendBase64(response, contentType, await answer(deps, call, path));
      },
      refuse: (error, traceId) => sendRefusal(response, estRefusalOf(error, traceId)),
    });
}

/** A path whose label, if any, is some model's. */
interface KnownPath extends EstPath {
  readonly model: Pick<UnitModel, 'makerId' | 'model'> | null;
}

async function knownPath(deps: EstRouterDeps, path: string): Promise<KnownPath> {
  const read = readEstPath(path);
  const model = read === null || read.label === null ? null : await deps.modelByLabel(read.label);
  if (read === null || (read.label !== null && model === null)) {
    throw new FemtoError('BAD_REQUEST', 'There is no such path; compare it with the EST page of the documentation.', {
      facts: { status: 404 },
    });
  }
  return { ...read, model };
}

interface Operation {
  readonly method: 'GET' | 'POST';
  readonly contentType: string;
  /** DER of the answer. */
  readonly answer: (deps: EstRouterDeps, call: DeviceCall, path: KnownPath) => Promise<Buffer>;
}

const CERTS_ONLY = 'application/pkcs7-mime; smime-type=certs-only';

const OPERATIONS: Readonly<Record<string, Operation>> = {
  cacerts: { method: 'GET', contentType: CERTS_ONLY, answer: async (deps) => certsOnly(await deps.caCertificates()) },
  csrattrs: { method: 'GET', contentType: 'application/csrattrs', answer: async () => CSR_ATTRS },
  simpleenroll: { method: 'POST', contentType: CERTS_ONLY, answer: enroll },
  simplereenroll: { method: 'POST', contentType: CERTS_ONLY, answer: enroll },
};

/** Operations of RFC 7030 that are refused on purpose. */
const REFUSED: Readonly<Record<string, string>> = {
  serverkeygen: 'Keys are made in the unit and never travel (KEY-6); use simpleenroll with the unit’s own key.',
  fullcmc: 'Full CMC is not spoken here; use simpleenroll, simplereenroll, or CMP.',
};

function operationOf(name: string, method: string): Operation {
  const operation = Object.hasOwn(OPERATIONS, name) ? OPERATIONS[name] : undefined;
  if (operation === undefined) {
    const why = (Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined) ?? 'There is no such EST operation.';
    throw new FemtoError('BAD_REQUEST', why, { facts: { status: 404 } });
  }
  if (operation.method !== method) {
    throw new FemtoError('BAD_REQUEST', `The path wants ${operation.method}.`, {
      facts: { status: 405, allow: operation.method },
    });
  }
  return operation;
}

/** simpleenroll and simplereenroll, RFC 7030 sections 4.2.1 and 4.2.2. */
async function enroll(deps: EstRouterDeps, call: DeviceCall, path: KnownPath): Promise<Buffer> {
  // 1. Who asks, and whether at its own model's address.
  const credential = await provedCaller(deps, call);
  checkModel(path, credential);
  // 2. What for: told by certificate, operation and code together.
  const wish = wishOf(path, credential, call.request);
  // 3. The request, within bounds; bound to this connection where it says so.
  const body = await readBody(call.request, REQUEST_BODY);
  const { certificate } = await blockingExposedKeys(deps, body, credential, async () => {
    const csr = keyRequestOf(body);
    checkChannelBinding(csr, call.request.socket);
    // 4. The use-case. EST has no idempotency key: the same key in the request gets the same certificate.
    const request = { credential, csr, idempotencyKey: null, freshness: { by: 'handshake' } } as const;
    return wish.kind === 'activate'
      ? deps.enrolment.activate({ ...request, code: wish.code })
      : deps.renewal.renew({ ...request, predecessorSignature: null });
  });
  // 5. The certificate alone (RFC 7030 section 4.2.3); its chain is cacerts.
  return certsOnly([certificate.der]);
}

const REQUEST_BODY = { bytesMax: 24_576, mediaType: 'application/pkcs10', mayLackMediaType: true };

function checkModel({ label, model }: KnownPath, { unit }: ProvedCredential): void {
  if (model === null || (model.makerId === unit.makerId && model.model === unit.model)) return;
  throw new FemtoError('ID_MISMATCH', 'The path is another model’s; use the unit’s own label, or none.', {
    facts: { label },
  });
}

type Wish = { readonly kind: 'activate'; readonly code: string | null } | { readonly kind: 'renew' };

/**
 * The factory's certificate can only activate, by either operation: strongSwan sends simplereenroll whenever it has a
 * certificate. An operational one renews, unless it comes to simpleenroll with a code: that is a reactivation (rules 3.7).
 */
function wishOf({ operation }: EstPath, { kind }: ProvedCredential, request: IncomingMessage): Wish {
  if (kind === 'operational' && operation === 'simplereenroll') return { kind: 'renew' };
  const basic = readBasicCode(request);
  if (basic.kind === 'basic') return { kind: 'activate', code: basic.code };
  return kind === 'operational' ? { kind: 'renew' } : { kind: 'activate', code: null };
}

/** One line, its length told, in one piece: strongSwan reads neither line breaks nor chunks. */
function sendBase64(response: ServerResponse, contentType: string, der: Buffer): void {
  const body = Buffer.from(der.toString('base64'), 'latin1');
  response
    .writeHead(200, {
      'content-type': contentType,
      // Says nothing new (RFC 8951 section 3.1), but clients written to RFC 7030 look for it.
      'content-transfer-encoding': 'base64',
      'content-length': body.length,
      'cache-control': 'no-store',
    })
    .end(body);
}

function sendRefusal(response: ServerResponse, { status, headers, text }: EstRefusal): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(status, { ...headers, 'content-length': Buffer.byteLength(text) }).end(text);
}
