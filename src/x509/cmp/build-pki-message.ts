import { bitString, explicitTag, generalizedTime, integer, nullValue, octetString, oid, sequence } from '../der.js';
import { algorithmIdentifier, type SignatureAlgorithm } from '../signature-algorithm.js';
import { BODY_TAG } from './body-tag.js';
import type { FailInfo, PkiStatus } from './fail-info.js';
import { INFO_TYPE } from './info-type.js';
import type { CertIdView, InfoItem } from './pki-message.js';
import { statusInfoDer } from './status-info.js';

/** What a status says: `failInfo` only beside `rejection`; `text` short and free of internals. */
export interface StatusAnswer {
  readonly status: PkiStatus;
  readonly text?: string;
  readonly failInfo?: FailInfo;
}

/** One body that we send. */
export type ResponseBody =
  | ({
      readonly kind: 'ip' | 'cp' | 'kup';
      /** That of the request; -1 answering p10cr. */
      readonly certReqId: number;
      readonly certificateDer?: Buffer;
      /** Trust anchors; ip only. */
      readonly caPubs?: readonly Buffer[];
    } & StatusAnswer)
  | ({ readonly kind: 'rp'; readonly certId?: CertIdView } & StatusAnswer)
  | { readonly kind: 'pkiConf' }
  | { readonly kind: 'genp'; readonly items: readonly InfoItem[] }
  | ({ readonly kind: 'error' } & StatusAnswer)
  | { readonly kind: 'pollRep'; readonly certReqId: number; readonly checkAfterSeconds: number };

export interface ResponseHeader {
  readonly pvno: number;
  /** Whole GeneralName. */
  readonly senderDer: Buffer;
  /** Whole GeneralName: the request's sender. */
  readonly recipientDer: Buffer;
  readonly messageTime: Date;
  /** Absent only where the request's could not be read. */
  readonly transactionId?: Buffer;
  readonly senderNonce: Buffer;
  readonly recipNonce?: Buffer;
  /** Granted; excludes `confirmWaitSeconds`. */
  readonly implicitConfirm?: boolean;
  /** confirmWaitTime = messageTime + this. */
  readonly confirmWaitSeconds?: number;
}

export type Protect =
  | {
      readonly kind: 'signature';
      readonly algorithm: SignatureAlgorithm;
      /** Subject key identifier of the protection certificate. */
      readonly senderKid: Buffer;
      /** DER signature over the bytes given. */
      readonly sign: (protectedDer: Buffer) => Buffer;
    }
  | {
      readonly kind: 'mac';
      readonly algorithmDer: Buffer;
      /** The reference the secret goes by. */
      readonly senderKid: Buffer;
      readonly mac: (protectedDer: Buffer) => Buffer;
    };

/**
 * One whole answer, protected. Written with the DER builders rather than the schema because every answer to a unit passes
 * here; that both write the same bytes is a test.
 *
 * @see RFC 9810 section 5.1
 */
export function buildPkiMessage(parts: {
  header: ResponseHeader;
  body: ResponseBody;
  protect: Protect;
  extraCerts: readonly Buffer[];
}): Buffer {
  const { header, body, protect, extraCerts } = parts;
  const headerDer = headerOf(header, protect);
  const bodyDer = explicitTag(BODY_TAG[body.kind], bodyContent(body));
  const protectedDer = sequence(headerDer, bodyDer);
  const protection = protect.kind === 'signature' ? protect.sign(protectedDer) : protect.mac(protectedDer);
  return sequence(
    headerDer,
    bodyDer,
    explicitTag(0, bitString(protection)),
    extraCerts.length === 0 ? NOTHING : explicitTag(1, sequence(...extraCerts)),
  );
}

/** GeneralName of a whole Name, for sender and recipient. */
export function directoryNameOf(nameDer: Buffer): Buffer {
  return explicitTag(4, nameDer);
}

const NOTHING = Buffer.alloc(0);
const IMPLICIT_CONFIRM = sequence(oid(INFO_TYPE.implicitConfirm), nullValue());
const CONFIRM_WAIT_TIME = oid(INFO_TYPE.confirmWaitTime);

function headerOf(header: ResponseHeader, protect: Protect): Buffer {
  const algorithmDer = protect.kind === 'signature' ? algorithmIdentifier(protect.algorithm) : protect.algorithmDer;
  return sequence(
    integer(header.pvno),
    header.senderDer,
    header.recipientDer,
    explicitTag(0, generalizedTime(header.messageTime)),
    explicitTag(1, algorithmDer),
    octets(2, protect.senderKid),
    octets(4, header.transactionId),
    octets(5, header.senderNonce),
    octets(6, header.recipNonce),
    generalInfo(header),
  );
}

function octets(tagNumber: number, value: Buffer | undefined): Buffer {
  return value === undefined ? NOTHING : explicitTag(tagNumber, octetString(value));
}

/** implicitConfirm and confirmWaitTime exclude one another: granted wins (RFC 9483 section 3.1). */
function generalInfo({ implicitConfirm, confirmWaitSeconds, messageTime }: ResponseHeader): Buffer {
  if (implicitConfirm === true) return explicitTag(8, sequence(IMPLICIT_CONFIRM));
  if (confirmWaitSeconds === undefined) return NOTHING;
  const until = new Date(messageTime.getTime() + confirmWaitSeconds * 1_000);
  return explicitTag(8, sequence(sequence(CONFIRM_WAIT_TIME, generalizedTime(until))));
}

function bodyContent(body: ResponseBody): Buffer {
  switch (body.kind) {
    case 'ip':
    case 'cp':
    case 'kup':
      return sequence(
        body.caPubs === undefined ? NOTHING : explicitTag(1, sequence(...body.caPubs)),
        sequence(
          sequence(
            integer(body.certReqId),
            statusOf(body),
            body.certificateDer === undefined ? NOTHING : sequence(explicitTag(0, body.certificateDer)),
          ),
        ),
      );
    case 'rp':
      return sequence(
        sequence(statusOf(body)),
        body.certId === undefined ? NOTHING : explicitTag(0, sequence(certIdDer(body.certId))),
      );
    case 'pkiConf':
      return nullValue();
    case 'genp':
      return sequence(
        ...body.items.map(({ oid: type, valueDer }) =>
          sequence(oid(type), valueDer === undefined ? NOTHING : valueDer),
        ),
      );
    case 'error':
      return sequence(statusOf(body));
    case 'pollRep':
      return sequence(sequence(integer(body.certReqId), integer(body.checkAfterSeconds)));
  }
}

function statusOf({ status, text, failInfo }: StatusAnswer): Buffer {
  return statusInfoDer(status, text, failInfo);
}

/** CertId of CRMF: issuer as a GeneralName, then the serial number. */
function certIdDer({ issuerDer, serial }: CertIdView): Buffer {
  return sequence(directoryNameOf(issuerDer), integer(serial));
}
