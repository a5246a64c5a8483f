import { AsnConvert } from '@peculiar/asn1-schema';
import { TAG } from '../der.js';
import { badDer, type DerElement, DerReader, namedBitNumbers } from '../der-reader.js';
import { readCmpCertId } from './cmp-fields.js';
import { type CertRepMessage, type CertResponse, PKIBody, type PKIStatusInfo } from './cmp-schema.js';
import { BODY_ITEMS_MAX, INFO_ITEMS_MAX, TEXT_CHARACTERS_MAX } from './limits.js';
import type { CertIdView, CertResponseView, InfoItem, ResponseBodyView, StatusInfo } from './pki-message.js';
import { statusInfoOf } from './status-info.js';

/**
 * A body that we send, read back through the schema. Nothing of our traffic comes this way: a client that sends one is
 * told badRequest, and tests, drills and vectors look into what we answered.
 *
 * @throws FemtoError BAD_REQUEST
 */
export function readResponseBody(kind: ResponseBodyView['kind'], element: DerElement): ResponseBodyView {
  const body = parseBody(element.der);
  switch (kind) {
    case 'ip':
    case 'cp':
    case 'kup':
      return { kind, ...certRepView(present(body[kind])) };
    case 'rp': {
      const { status, revCerts } = present(body.rp);
      return {
        kind,
        statuses: few(status).map(statusView),
        revCerts: few(revCerts ?? []).map((certId) => certIdView(AsnConvert.serialize(certId))),
      };
    }
    case 'genp':
      return { kind, items: few(present(body.genp)).map((item) => infoView(item.infoType, item.infoValue)) };
    case 'error':
      return { kind, status: statusView(present(body.error).pKIStatusInfo) };
    case 'pollRep':
      return {
        kind,
        polls: few(present(body.pollRep)).map(({ certReqId, checkAfter }) => ({
          certReqId: small(certReqId),
          checkAfterSeconds: small(checkAfter),
        })),
      };
    case 'pkiConf':
      return { kind };
  }
}

/** The library throws plain errors of several kinds for what does not fit; here each of them is the same finding. */
function parseBody(der: Buffer): PKIBody {
  try {
    return AsnConvert.parse(der, PKIBody);
  } catch (cause) {
    const refusal = badDer('PKIBody', 'is not what its tag says');
    refusal.cause = cause;
    throw refusal;
  }
}

function present<T>(body: T | undefined): T {
  if (body === undefined) throw badDer('PKIBody', 'is not what its tag says');
  return body;
}

function few<T>(members: readonly T[]): T[] {
  if (members.length > BODY_ITEMS_MAX) throw badDer('PKIBody', `has more than ${BODY_ITEMS_MAX} members`);
  return [...members];
}

function certRepView({ caPubs, response }: CertRepMessage): {
  caPubs: Buffer[];
  responses: CertResponseView[];
} {
  return { caPubs: few(caPubs ?? []).map(certificateBytes), responses: few(response).map(certResponseView) };
}

function certResponseView({ certReqId, status, certifiedKeyPair }: CertResponse): CertResponseView {
  const certificate = certifiedKeyPair?.certOrEncCert.certificate;
  return {
    certReqId: small(certReqId),
    status: statusView(status),
    ...(certificate === undefined ? {} : { certificateDer: certificateBytes(certificate) }),
  };
}

function certificateBytes(value: ArrayBuffer | null): Buffer {
  const der = Buffer.from(value ?? new ArrayBuffer(0));
  if (der[0] !== TAG.SEQUENCE) throw badDer('PKIBody', 'has something else where a certificate must be');
  return der;
}

function statusView({ status, statusString, failInfo }: PKIStatusInfo): StatusInfo {
  const texts = [...(statusString ?? [])];
  if (texts.length > INFO_ITEMS_MAX || texts.some((text) => text.length > TEXT_CHARACTERS_MAX)) {
    throw badDer('statusString', 'is too long');
  }
  const bits =
    failInfo === undefined
      ? []
      : namedBitNumbers(Buffer.from([failInfo.unusedBits, ...new Uint8Array(failInfo.value)]), 'failInfo');
  return statusInfoOf(small(status), texts, bits);
}

function infoView(oid: string, value: ArrayBuffer | null | undefined): InfoItem {
  if (value === undefined) return { oid };
  return { oid, valueDer: value === null ? Buffer.from([TAG.NULL, 0]) : Buffer.from(value) };
}

function certIdView(der: ArrayBuffer): CertIdView {
  const outer = new DerReader(Buffer.from(der), 'CertId');
  const view = readCmpCertId(outer.enter(TAG.SEQUENCE, 'CertId'), 'CertId');
  outer.end();
  return view;
}

const SMALL_MAX = 0x7fffffffn;

function small(value: bigint): number {
  if (value > SMALL_MAX || value < -SMALL_MAX) throw badDer('PKIBody', 'has a number that is far too large');
  return Number(value);
}
