import { AsnConvert } from '@peculiar/asn1-schema';
import { PKIMessage, type PKIStatusInfo } from '../../../../src/x509/cmp/cmp-schema.js';
import { type CertReqMsg, POPOSigningKeyInput } from '../../../../src/x509/cmp/crmf-schema.js';
import { readCrmfTemplate } from '../../../../src/x509/cmp/crmf-template.js';
import {
  FAIL_INFO,
  PKI_STATUS,
  type PkiMessage,
  readPkiMessage,
  type StatusInfo,
} from '../../../../src/x509/cmp/index.js';
import { sequence, TAG } from '../../../../src/x509/der.js';
import { DerReader, readDer } from '../../../../src/x509/der-reader.js';

/**
 * One message, read by hand and by the schema, each written down in the same plain words: what a property test compares.
 * Fields that nobody here reads (recipKID, freeText, validity…) are covered by the schema's re-encoding.
 */
export function readByHand(der: Buffer): unknown {
  const message = readPkiMessage(der);
  return {
    pvno: message.pvno,
    sender: hex(message.senderDer),
    recipient: hex(message.recipientDer),
    messageTime: message.messageTime?.toISOString(),
    protectionAlg: hex(message.protectionAlgDer),
    senderKid: hex(message.senderKid),
    transactionId: hex(message.transactionId),
    senderNonce: hex(message.senderNonce),
    recipNonce: hex(message.recipNonce),
    asksImplicitConfirm: message.asksImplicitConfirm,
    protection: hex(message.protection),
    extraCerts: message.extraCerts.map(hex),
    body: bodyByHand(message),
  };
}

function bodyByHand({ body }: PkiMessage): unknown {
  switch (body.kind) {
    case 'ir':
    case 'cr':
    case 'kur':
      return { [body.kind]: body.requests.map(certReqByHand) };
    case 'p10cr':
      return { p10cr: hex(body.csrDer) };
    case 'rr':
      return {
        rr: body.details.map(({ certId, reasonCode }) => ({
          issuer: hex(certId?.issuerDer),
          serial: hex(certId?.serial),
          reasonCode,
        })),
      };
    case 'certConf':
      return {
        certConf: body.statuses.map(({ certHash, certReqId, statusInfo, hashAlgDer }) => ({
          certHash: hex(certHash),
          certReqId,
          statusInfo: statusInfo === undefined ? undefined : statusWords(statusInfo),
          hashAlg: hex(hashAlgDer),
        })),
      };
    case 'ip':
    case 'cp':
    case 'kup':
      return {
        [body.kind]: body.responses.map(({ certReqId, status, certificateDer }) => ({
          certReqId,
          status: statusWords(status),
          certificate: hex(certificateDer),
        })),
        caPubs: body.caPubs.map((certificate) => hex(certificate)),
      };
    case 'genm':
    case 'genp':
      return { [body.kind]: body.items.map(({ oid, valueDer }) => ({ oid, value: hex(valueDer) })) };
    case 'pollReq':
      return { pollReq: body.certReqIds };
    default:
      return 'read through the schema itself';
  }
}

/** The readable half of readCertRequest, without its refusals of keys and algorithms. */
function certReqByHand(der: Buffer): unknown {
  const message = readDer(der, TAG.SEQUENCE, 'CertReqMsg');
  const certReq = message.expect(TAG.SEQUENCE);
  const popo = message.atEnd || message.peekTag() === TAG.SEQUENCE ? undefined : message.next();
  const fields = new DerReader(certReq.content, 'certReq');
  const certReqId = fields.expect(TAG.INTEGER).content.readInt8(0);
  const template = readCrmfTemplate(fields.enter(TAG.SEQUENCE));
  return {
    certReq: hex(certReq.der),
    certReqId,
    subject: hex(template.subject?.der),
    spki: hex(template.spkiDer),
    extensions: template.extensions.map(({ id, critical, value }) => ({ id, critical, value: hex(value) })),
    popo: popo?.tag,
    popoContent: popo === undefined || popo.tag !== 0xa1 ? undefined : popoByHand(popo.content),
  };
}

function popoByHand(content: Buffer): unknown {
  const fields = new DerReader(content, 'popo');
  const input = fields.optional(0xa0);
  return {
    input: input === undefined ? undefined : hex(sequence(input.content)),
    algorithm: hex(fields.expect(TAG.SEQUENCE).der),
    signature: hex(fields.expect(TAG.BIT_STRING).content.subarray(1)),
  };
}

export function readBySchema(der: Buffer): unknown {
  const { header, body, protection, extraCerts } = AsnConvert.parse(der, PKIMessage);
  return {
    pvno: header.pvno,
    sender: encoded(header.sender),
    recipient: encoded(header.recipient),
    messageTime: header.messageTime?.toISOString(),
    protectionAlg: encoded(header.protectionAlg),
    senderKid: octets(header.senderKID),
    transactionId: octets(header.transactionID),
    senderNonce: octets(header.senderNonce),
    recipNonce: octets(header.recipNonce),
    asksImplicitConfirm: (header.generalInfo ?? []).some(({ infoType }) => infoType === '1.3.6.1.5.5.7.4.13'),
    protection: protection === undefined ? undefined : hex(Buffer.from(protection)),
    extraCerts: [...(extraCerts ?? [])].map((certificate) => hex(Buffer.from(certificate))),
    body: bodyBySchema(body),
  };
}

/**
 * Can the schema read these bytes and write them back? Where it trips over something our readers pass over (the inside of a
 * recipient's name), or cannot write it back (text that is not UTF-8), there is nothing to compare with.
 */
export function isWrittenBack(der: Buffer): boolean {
  try {
    return Buffer.from(AsnConvert.serialize(AsnConvert.parse(der, PKIMessage))).equals(der);
  } catch {
    return false;
  }
}

function bodyBySchema(body: PKIMessage['body']): unknown {
  for (const kind of ['ir', 'cr', 'kur'] as const) {
    const requests = body[kind];
    if (requests !== undefined) return { [kind]: [...requests].map(certReqBySchema) };
  }
  if (body.p10cr !== undefined) return { p10cr: encoded(body.p10cr) };
  if (body.rr !== undefined) {
    return {
      rr: [...body.rr].map(({ certDetails, crlEntryDetails }) => {
        const whole = certDetails.issuer !== undefined && certDetails.serialNumber !== undefined;
        const reason = [...(crlEntryDetails ?? [])].find(({ extnID }) => extnID === '2.5.29.21')?.extnValue;
        return {
          issuer: whole ? encoded(certDetails.issuer) : undefined,
          serial: whole
            ? hex(Buffer.from(certDetails.serialNumber ?? new ArrayBuffer(0))).replace(/^00(?=..)/, '')
            : undefined,
          reasonCode: reason === undefined ? undefined : Buffer.from(reason.buffer)[2],
        };
      }),
    };
  }
  if (body.certConf !== undefined) {
    return {
      certConf: [...body.certConf].map(({ certHash, certReqId, statusInfo, hashAlg }) => ({
        certHash: octets(certHash),
        certReqId: Number(certReqId),
        statusInfo: statusInfo === undefined ? undefined : statusNumbers(statusInfo),
        hashAlg: encoded(hashAlg),
      })),
    };
  }
  for (const kind of ['ip', 'cp', 'kup'] as const) {
    const content = body[kind];
    if (content === undefined) continue;
    return {
      [kind]: [...content.response].map(({ certReqId, status, certifiedKeyPair }) => ({
        certReqId: Number(certReqId),
        status: statusNumbers(status),
        certificate: bytes(certifiedKeyPair?.certOrEncCert.certificate),
      })),
      caPubs: [...(content.caPubs ?? [])].map(bytes),
    };
  }
  for (const kind of ['genm', 'genp'] as const) {
    const items = body[kind];
    if (items === undefined) continue;
    return {
      [kind]: [...items].map(({ infoType, infoValue }) => ({
        oid: infoType,
        value: infoValue === null ? '0500' : bytes(infoValue),
      })),
    };
  }
  if (body.pollReq !== undefined) return { pollReq: [...body.pollReq].map(({ certReqId }) => Number(certReqId)) };
  return 'read through the schema itself';
}

function certReqBySchema({ certReq, popo }: CertReqMsg): unknown {
  const { certTemplate, certReqId } = certReq;
  const choice = [
    { tag: 0x80, value: popo?.raVerified },
    { tag: 0xa1, value: popo?.signature },
    { tag: 0xa2, value: popo?.keyEncipherment },
    { tag: 0xa3, value: popo?.keyAgreement },
  ].find(({ value }) => value !== undefined);
  const signature = popo?.signature;
  return {
    certReq: encoded(certReq),
    certReqId: Number(certReqId),
    subject: encoded(certTemplate.subject),
    spki: encoded(certTemplate.publicKey),
    extensions: [...(certTemplate.extensions ?? [])].map(({ extnID, critical, extnValue }) => ({
      id: extnID,
      critical,
      value: octets(extnValue),
    })),
    popo: choice?.tag,
    popoContent:
      signature === undefined
        ? undefined
        : {
            input:
              signature.poposkInput === undefined
                ? undefined
                : hex(
                    Buffer.from(AsnConvert.serialize(Object.assign(new POPOSigningKeyInput(), signature.poposkInput))),
                  ),
            algorithm: encoded(signature.algorithmIdentifier),
            signature: hex(Buffer.from(signature.signature)),
          },
  };
}

function statusWords({ status, text, failInfo }: StatusInfo): unknown {
  return { status: PKI_STATUS[status], text, failInfo: failInfo.map((name) => FAIL_INFO[name]) };
}

function statusNumbers({ status, statusString, failInfo }: PKIStatusInfo): unknown {
  const octetsOfBits = Buffer.from(failInfo?.value ?? new ArrayBuffer(0));
  const bits = [...Array(octetsOfBits.length * 8).keys()].filter(
    (bit) => ((octetsOfBits[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0,
  );
  return { status: Number(status), text: [...(statusString ?? [])], failInfo: bits };
}

function encoded(value: unknown): string | undefined {
  return value === undefined ? undefined : hex(Buffer.from(AsnConvert.serialize(value)));
}

function octets(value: { buffer: ArrayBuffer } | undefined): string | undefined {
  return value === undefined ? undefined : hex(Buffer.from(value.buffer));
}

function bytes(value: ArrayBuffer | undefined): string | undefined {
  return value === undefined ? undefined : hex(Buffer.from(value));
}

function hex(bytes: Buffer): string;
function hex(bytes: Buffer | undefined): string | undefined;
function hex(bytes: Buffer | undefined): string | undefined {
  return bytes?.toString('hex');
}
