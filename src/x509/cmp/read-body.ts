import { TAG } from '../der.js';
import { badDer, type DerElement, DerReader } from '../der-reader.js';
import { BODY_TAG } from './body-tag.js';
import { insideTag, readInfoItems, readMembers, shortInteger } from './cmp-fields.js';
import type { CertStatusView, CmpBody } from './pki-message.js';
import { readCertRep } from './read-cert-rep.js';
import { readRareBody } from './read-rare-body.js';
import { readRevDetails } from './read-rev-details.js';
import { readStatusInfo } from './status-info.js';

type BodyKind = keyof typeof BODY_TAG;
const KIND_OF_TAG: ReadonlyMap<number, BodyKind> = new Map(
  Object.entries(BODY_TAG).map(([kind, tag]) => [tag, kind as BodyKind]),
);
const EXPLICIT = 0xa0;

/**
 * What traffic is made of is read by hand; the rare bodies, which only we send, are read back through the decorated schema,
 * the definition itself.
 *
 * @param element  the whole PKIBody, its bytes already past the DER gate
 * @throws FemtoError BAD_REQUEST
 */
export function readBody(element: DerElement): CmpBody {
  const tag = element.tag & 0x1f;
  if ((element.tag & 0xe0) !== EXPLICIT) throw badDer('PKIBody', 'has no body where one must be');
  const kind = KIND_OF_TAG.get(tag);
  switch (kind) {
    case undefined:
      return { kind: 'other', tag };
    case 'ir':
    case 'cr':
    case 'kur':
      return { kind, requests: listOf(element, kind, (list) => list.expect(TAG.SEQUENCE, 'CertReqMsg').der) };
    case 'p10cr':
      return { kind, csrDer: insideTag(element, TAG.SEQUENCE, kind).der };
    case 'rr':
      return { kind, details: listOf(element, kind, (list) => readRevDetails(list.enter(TAG.SEQUENCE, 'RevDetails'))) };
    case 'certConf':
      return {
        kind,
        statuses: listOf(element, kind, (list) => readCertStatus(list.enter(TAG.SEQUENCE, 'CertStatus'))),
      };
    case 'pollReq':
      return { kind, certReqIds: listOf(element, kind, (list) => readPollReq(list.enter(TAG.SEQUENCE, 'pollReq'))) };
    case 'genm':
    case 'genp':
      return { kind, items: readInfoItems(new DerReader(insideTag(element, TAG.SEQUENCE, kind).content, kind), kind) };
    case 'ip':
    case 'cp':
    case 'kup':
      return { kind, ...readCertRep(new DerReader(insideTag(element, TAG.SEQUENCE, kind).content, kind)) };
    case 'pkiConf':
      if (insideTag(element, TAG.NULL, kind).content.length > 0) throw badDer(kind, 'has a NULL with content');
      return { kind };
    default:
      return readRareBody(kind, element);
  }
}

function listOf<T>(element: DerElement, what: string, read: (list: DerReader) => T): T[] {
  return readMembers(new DerReader(insideTag(element, TAG.SEQUENCE, what).content, what), read);
}

function readCertStatus(fields: DerReader): CertStatusView {
  const certHash = fields.expect(TAG.OCTET_STRING, 'certHash').content;
  const certReqId = shortInteger(fields.expect(TAG.INTEGER, 'certReqId').content, 'certReqId');
  const statusInfo = fields.optional(TAG.SEQUENCE);
  const hashAlg = fields.optional(0xa0);
  fields.end();
  return {
    certHash,
    certReqId,
    ...(statusInfo === undefined ? {} : { statusInfo: readStatusInfo(statusInfo) }),
    ...(hashAlg === undefined ? {} : { hashAlgDer: insideTag(hashAlg, TAG.SEQUENCE, 'hashAlg').der }),
  };
}

function readPollReq(fields: DerReader): number {
  const certReqId = shortInteger(fields.expect(TAG.INTEGER, 'certReqId').content, 'certReqId');
  fields.end();
  return certReqId;
}
