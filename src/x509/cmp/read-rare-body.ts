import { AsnConvert } from '@peculiar/asn1-schema';
import { TAG } from '../der.js';
import { checkDer } from '../der-gate.js';
import { badDer, type DerElement, DerReader } from '../der-reader.js';
import { readCmpCertId } from './cmp-fields.js';
import { PKIBody, type PKIStatusInfo } from './cmp-schema.js';
import { BODY_ITEMS_MAX, CMP_BYTES_MAX, INFO_ITEMS_MAX, TEXT_CHARACTERS_MAX } from './limits.js';
import type { CertIdView, ResponseBodyView, StatusInfo } from './pki-message.js';
import { statusInfoOf } from './status-info.js';

/**
 * The schema takes up to 20 µs an element, and a stranger may send one of these too: with the message's own 5,000 elements
 * that would be a tenth of a second of everybody's time. Real ones have under thirty.
 */
const RARE_BODY_LIMITS = { bytesMax: CMP_BYTES_MAX, depthMax: 16, elementsMax: 150 } as const;

/**
 * An rp, error or pollRep, read through the schema. A client that sends one is told badRequest; tests, drills and vectors
 * look into what we answered.
 *
 * @throws FemtoError BAD_REQUEST
 */
export function readRareBody(kind: 'rp' | 'error' | 'pollRep', element: DerElement): ResponseBodyView {
  checkDer(element.der, RARE_BODY_LIMITS);
  const body = parseBody(element.der);
  switch (kind) {
    case 'rp': {
      const { status, revCerts } = present(body.rp);
      return {
        kind,
        statuses: few(status).map(statusView),
        revCerts: few(revCerts ?? []).map((certId) => certIdView(AsnConvert.serialize(certId))),
      };
    }
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

function statusView({ status, statusString, failInfo }: PKIStatusInfo): StatusInfo {
  const texts: readonly unknown[] = [...(statusString ?? [])];
  // The library gives back nothing at all for a member of another type.
  if (!texts.every((text) => typeof text === 'string'))
    throw badDer('statusString', 'has a member that is no UTF8String');
  if (texts.length > INFO_ITEMS_MAX || texts.some((text) => text.length > TEXT_CHARACTERS_MAX)) {
    throw badDer('statusString', 'is too long');
  }
  const failContent =
    failInfo === undefined
      ? undefined
      : Buffer.concat([Buffer.from([failInfo.unusedBits]), Buffer.from(failInfo.value)]);
  return statusInfoOf(small(status), texts, failContent);
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
