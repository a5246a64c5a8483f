import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { z } from 'zod';
import {
  type AdmissionDeps,
  type AskingGateway,
  authorise,
  type Decision,
  STAGES,
} from '../../lifecycle/admission/index.js';
import type { IssuerDirectory, MachineOffice } from '../../lifecycle/registry/index.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { readCertificate } from '../../x509/certificate.js';
import { readJsonBody } from '../rest/body.js';
import { problemOf, sendProblem, traceIdOf } from '../rest/problem.js';

/** What the gateway port needs. `sign` = the decision key of this process. */
export interface GatewayRimDeps {
  readonly admission: AdmissionDeps;
  readonly issuers: IssuerDirectory;
  readonly machines: MachineOffice;
  readonly sign: (text: Buffer) => { signature: Buffer; certificatePem: string };
  readonly onInternal: (error: unknown, traceId: string) => void;
}

const authoriseBody = z.strictObject({
  stage: z.enum(STAGES),
  /** DER certificate, base64. */
  certificate: z.base64().min(64).max(32_768),
  identity: z.string().min(1).max(253),
  address: z.string().min(2).max(64),
  keyProved: z.boolean(),
  nonce: z.string().regex(/^(?:[0-9a-f]{2}){16,64}$/),
});

/**
 * `POST /v1/authorise` over mTLS. The answer is a signed text: gateways check it with the decision certificate, which
 * chains to the Services Root.
 */
export function makeGatewayHandler(deps: GatewayRimDeps): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const traceId = traceIdOf(request);
    const call: Call = { request, gateway: null };
    answer(deps, call)
      .then((body) => {
        response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' });
        response.end(JSON.stringify(body));
      })
      .catch((thrown: unknown) => {
        const error = asFemtoError(thrown);
        if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
        // Whoever has not proved to be a gateway learns nothing but one of four words.
        sendProblem(response, problemOf(error, call.gateway === null ? 'device' : 'gateway', traceId));
      });
  };
}

interface Call {
  readonly request: IncomingMessage;
  /** Set once the caller is proved. */
  gateway: AskingGateway | null;
}

async function answer(deps: GatewayRimDeps, call: Call): Promise<SignedDecision> {
  const { request } = call;
  if (request.url !== '/v1/authorise' || request.method !== 'POST') {
    throw new FemtoError('NOT_FOUND', 'The gateway port answers POST /v1/authorise.');
  }
  const gateway = await callingGateway(deps, request.socket as TLSSocket);
  call.gateway = gateway;
  const body = await readJsonBody(request, authoriseBody);
  // A process that cannot sign must not decide: its permit would be worth nothing and its confirm would stand.
  deps.sign(Buffer.alloc(0));
  const decision = await authorise(deps.admission, gateway, {
    ...body,
    certificateDer: Buffer.from(body.certificate, 'base64'),
  });
  return signed(decision, deps.sign);
}

export interface SignedDecision {
  /** Canonical JSON of the decision; what is signed is exactly these bytes. */
  readonly decision: string;
  /** DER ECDSA P-256 with SHA-256, base64. */
  readonly signature: string;
  readonly certificate: string;
}

function signed(decision: Decision, sign: GatewayRimDeps['sign']): SignedDecision {
  const text = JSON.stringify({ version: 1, ...decision });
  const { signature, certificatePem } = sign(Buffer.from(text));
  return { decision: text, signature: signature.toString('base64'), certificate: certificatePem };
}

/** A gateway is a row of kind gateway behind a certificate that our Services CA's exact key signed (rules 1.2). */
async function callingGateway(deps: GatewayRimDeps, socket: TLSSocket): Promise<AskingGateway> {
  const der = socket.getPeerCertificate(false)?.raw;
  if (!der) throw new FemtoError('DENIED', 'Call with a gateway certificate (mTLS); see femtopki gateway add.');
  const certificate = readCertificate(der);
  const issuer = await deps.issuers.bySpkiOrSignature(certificate);
  if (issuer?.kind !== 'services-ca')
    throw new FemtoError('UNKNOWN_ISSUER', 'The caller’s certificate is not from our Services CA.');
  const now = deps.admission.clock.now();
  if (now > certificate.notAfter || now < certificate.notBefore) {
    throw new FemtoError('CERT_EXPIRED', 'The gateway’s certificate is outside its life; renew it.');
  }
  const machine = await deps.machines.bySpkiHash(certificate.spki.spkiHash);
  if (machine?.kind !== 'gateway') throw new FemtoError('DENIED', 'The caller is no approved gateway.');
  const { status } = deps.admission.reader;
  const standing = await status(deps.admission.db.read, { issuerId: issuer.id, serial: certificate.serial });
  if (standing !== 'good') throw new FemtoError('CERT_REVOKED', 'The gateway’s certificate is revoked.');
  return { machineId: machine.id, name: machine.name };
}
