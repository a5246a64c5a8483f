/** May this OCSP answer be signed? RFC 6960 section 4.2.1; never `good` for a serial on the newest CRL (rules 2.4). */
import { createHash } from 'node:crypto';
import { TAG } from '../../x509/der.js';
import { checkMinimalInteger, DerReader, readDer } from '../../x509/der-reader.js';
import type { SignRequest } from '../signer.js';
import { listsSerial, type NewestCrl } from './crl-memory.js';
import type { KeyFacts, OcspIssuerHashes } from './issuer-facts.js';
import { timeMs } from './leaf-tbs.js';
import { deny, Refusal } from './refusal.js';

const GOOD = 0x80;
const BY_NAME = 0xa1;
const BY_KEY = 0xa2;
const NEXT_UPDATE = 0xa0;
const RESPONSES_MAX = 64;
const RESPONSE_BYTES_MAX = 64 * 1024;

export interface OcspJudgement {
  readonly responder: KeyFacts;
  readonly issuer: OcspIssuerHashes;
  readonly lifeSecondsMax: number;
  readonly skewMs: number;
  readonly nowMs: number;
  readonly newestCrl: () => NewestCrl | undefined;
}

/** @throws Refusal; FemtoError BAD_REQUEST from the DER reader */
export function judgeOcsp(request: SignRequest, by: OcspJudgement): void {
  if (request.tbs.length > RESPONSE_BYTES_MAX)
    throw new Refusal('BAD_REQUEST', 'The OCSP answer is larger than 64 KiB.');
  const fields = readDer(request.tbs, TAG.SEQUENCE, 'OCSP ResponseData');
  checkResponder(fields, by.responder);
  const producedAt = fields.next();
  if (timeMs(producedAt.tag, producedAt.content) > by.nowMs + by.skewMs) deny('producedAt lies in the future.');
  const responses = fields.enter(TAG.SEQUENCE, 'responses');
  fields.optional(0xa1); // responseExtensions: the nonce comes from the requester and binds us to nothing
  fields.end();
  let count = 0;
  let name: string | undefined;
  while (!responses.atEnd) {
    const answered = judgeSingle(responses.enter(TAG.SEQUENCE, 'single response'), by);
    name ??= answered;
    count += 1;
    if (count > RESPONSES_MAX) deny(`The answer holds more than ${RESPONSES_MAX} responses.`);
  }
  if (name === undefined) deny('The answer holds no response.');
  if (request.name !== name) deny('The name of the request is not ocsp:<serial>:<thisUpdate> of its first response.');
}

function checkResponder(fields: DerReader, responder: KeyFacts): void {
  if (fields.peekTag() === 0xa0) deny('The answer spells out version 1, which DER forbids.');
  const byName = fields.optional(BY_NAME);
  if (byName) {
    if (!byName.content.equals(responder.subjectDer)) deny('The responder name is not that of the OCSP key.');
    return;
  }
  // KeyHash is always SHA-1 of the key bits, whatever the SKI is made of (RFC 6960 section 4.2.1).
  const hash = new DerReader(fields.expect(BY_KEY, 'responder').content, 'responder').expect(TAG.OCTET_STRING).content;
  if (!hash.equals(responderKeyHash(responder))) deny('The responder key hash is not that of the OCSP key.');
}

/** @returns the name this response has in the journal */
function judgeSingle(single: DerReader, by: OcspJudgement): string {
  const certId = single.enter(TAG.SEQUENCE, 'CertID');
  certId.expect(TAG.SEQUENCE, 'hash algorithm');
  const nameHash = certId.expect(TAG.OCTET_STRING, 'issuer name hash').content;
  const keyHash = certId.expect(TAG.OCTET_STRING, 'issuer key hash').content;
  const serialContent = certId.expect(TAG.INTEGER, 'serial number').content;
  certId.end();
  checkMinimalInteger(serialContent, 'serial number');
  const index = by.issuer.nameHashes.findIndex((hash) => hash.equals(nameHash));
  if (index < 0 || !by.issuer.keyHashes[index]?.equals(keyHash))
    deny('The answer is about another CA than the key serves.');
  const status = single.next();
  const thisUpdate = single.next();
  const nextUpdate = single.enter(NEXT_UPDATE, 'nextUpdate').next();
  single.optional(0xa1); // singleExtensions
  single.end();

  const thisUpdateMs = timeMs(thisUpdate.tag, thisUpdate.content);
  const lifeSeconds = (timeMs(nextUpdate.tag, nextUpdate.content) - thisUpdateMs) / 1_000;
  if (lifeSeconds < 0) deny('nextUpdate lies before thisUpdate.');
  if (lifeSeconds > by.lifeSecondsMax) {
    throw new Refusal(
      'LIFETIME_EXCEEDS_CEILING',
      `The answer lives ${lifeSeconds} s; the signer's ceiling is ${by.lifeSecondsMax} s.`,
    );
  }
  if (thisUpdateMs > by.nowMs + by.skewMs) deny('thisUpdate lies in the future.');
  const serial = serialContent[0] === 0 && serialContent.length > 1 ? serialContent.subarray(1) : serialContent;
  if (status.tag === GOOD) refuseGoodForRevoked(serial, by);
  return `ocsp:${serial.toString('hex')}:${new Date(thisUpdateMs).toISOString()}`;
}

function refuseGoodForRevoked(serial: Buffer, { newestCrl }: OcspJudgement): void {
  const crl = newestCrl();
  if (crl && serial.length <= 20 && listsSerial(crl, serial)) {
    deny('The newest CRL lists this serial, so the answer must not be good; read the status again.');
  }
}

const keyHashes = new WeakMap<KeyFacts, Buffer>();

function responderKeyHash(responder: KeyFacts): Buffer {
  let hash = keyHashes.get(responder);
  if (!hash) {
    hash = createHash('sha1').update(responder.spki.keyBits).digest();
    keyHashes.set(responder, hash);
  }
  return hash;
}
