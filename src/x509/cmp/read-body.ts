import { TAG } from '../der.js';
import { badDer, type DerElement, DerReader } from '../der-reader.js';
import { BODY_TAG } from './body-tag.js';
import { insideTag, readInfoItems, shortInteger } from './cmp-fields.js';
import { BODY_ITEMS_MAX } from './limits.js';
import type { CertStatusView, CmpBody } from './pki-message.js';
import { readResponseBody } from './read-response-body.js';
import { readRevDetails } from './read-rev-details.js';
import { readStatusInfo } from './status-info.js';

type BodyKind = keyof typeof BODY_TAG;
const KIND_OF_TAG: ReadonlyMap<number, BodyKind> = new Map(
  Object.entries(BODY_TAG).map(([kind, tag]) => [tag, kind as BodyKind]),
);
const EXPLICIT = 0xa0;

/**
 * What we serve is read by hand, because that is what traffic is made of; what only we send is read back through the
 * decorated schema, the definition itself.
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
      return { kind, items: readInfoItems(new DerReader(insideTag(element, TAG.SEQUENCE, kind).content, kind), kind) };
    default:
      return readResponseBody(kind, element);
  }
}

/** Members of the body's SEQUENCE OF. An empty list is let through: the listener refuses any number but one. */
function listOf<T>(element: DerElement, what: string, read: (list: DerReader) => T): T[] {
  const list = new DerReader(insideTag(element, TAG.SEQUENCE, what).content, what);
  const members: T[] = [];
  while (!list.atEnd) {
    if (members.length === BODY_ITEMS_MAX) list.fail(`has more than ${BODY_ITEMS_MAX} members`);
    members.push(read(list));
  }
  return members;
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
