import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { readCertificate } from '../../src/x509/certificate.js';
import {
  directoryNameOf,
  type PkiMessage,
  readPkiMessage,
  verifySignatureProtection,
} from '../../src/x509/cmp/index.js';
import type { Spki } from '../../src/x509/spki.js';
import { certReqMsg, cmpRequest, requestBody } from '../../test/support/cmp-request.js';
import { HttpLine, httpRequest, type LineAnswer } from './http-line.js';
import { type LoadUnit, renewed } from './unit.js';

const PATH = 'POST /.well-known/cmp';
const ACCEPTED = 0;

/** Everything of a renewal that can be said before the server has spoken. */
export interface PreparedKur {
  readonly header: { sender: Buffer; transactionId: Buffer };
  readonly http: Buffer;
}

export function dialPlain(port: number): HttpLine {
  return new HttpLine(() => connect({ port, host: '127.0.0.1' }), 'connect');
}

export function prepareKur({ key, certificateDer, nextKey }: LoadUnit): PreparedKur {
  const header = {
    sender: directoryNameOf(readCertificate(certificateDer).subjectDer),
    transactionId: randomBytes(16),
  };
  const kur = cmpRequest({
    header,
    body: requestBody.kur(certReqMsg({ key: nextKey })),
    protect: { kind: 'signature', key },
    extraCerts: [certificateDer],
  });
  return { header, http: httpOf(kur) };
}

/** kur, kup, certConf, pkiConf: the client checks both answers, and both are what they must be, or it throws. */
export async function renewByCmp(
  line: HttpLine,
  unit: LoadUnit,
  { header, http }: PreparedKur,
  raSpki: Spki,
  witness?: (request: Buffer, answer: LineAnswer) => void,
): Promise<LoadUnit> {
  const kupAnswer = await line.ask(http);
  witness?.(http, kupAnswer);
  const kup = readAnswer(kupAnswer, raSpki);
  const [response] = kup.body.kind === 'kup' ? kup.body.responses : [];
  const certificateDer = response?.certificateDer;
  if (certificateDer === undefined) throw new Error(`no certificate came back: ${said(kup)}`);
  const next = renewed(unit, certificateDer);
  const certConf = cmpRequest({
    header: { ...header, ...(kup.senderNonce === undefined ? {} : { recipNonce: kup.senderNonce }) },
    body: requestBody.certConf({ certificateDer, status: ACCEPTED }),
    protect: { kind: 'signature', key: unit.key },
    extraCerts: [unit.certificateDer],
  });
  const confHttp = httpOf(certConf);
  const confAnswer = await line.ask(confHttp);
  witness?.(confHttp, confAnswer);
  const pkiConf = readAnswer(confAnswer, raSpki);
  if (pkiConf.body.kind !== 'pkiConf') throw new Error(`no pkiConf came back: ${said(pkiConf)}`);
  return next;
}

function readAnswer({ status, body }: LineAnswer, raSpki: Spki): PkiMessage {
  if (status !== 200) throw new Error(`HTTP ${status}`);
  const message = readPkiMessage(body);
  if (!verifySignatureProtection(message, raSpki)) throw new Error('an answer is not protected by the RA');
  return message;
}

function httpOf(message: Buffer): Buffer {
  return httpRequest(PATH, { 'content-type': 'application/pkixcmp' }, message);
}

function said(message: PkiMessage): string {
  return JSON.stringify(message.body, (_, value: unknown) => (Buffer.isBuffer(value) ? '…' : value));
}
