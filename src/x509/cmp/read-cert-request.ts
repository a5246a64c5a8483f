import { sequence, TAG } from '../der.js';
import { badDer, type DerElement, DerReader, oidValue, readDer, wholeOctets } from '../der-reader.js';
import { onlyAttribute } from '../distinguished-name.js';
import { type KeyRequest, readWishes } from '../key-request.js';
import { OID } from '../oids.js';
import { refusePrivateKey } from '../private-key-material.js';
import { readSpki } from '../spki.js';
import { CmpFault, faultAs } from './cmp-fault.js';
import { readCmpCertId, shortInteger, utf8Value } from './cmp-fields.js';
import { cmpSignatureAlgorithmOf } from './cmp-signature-algorithm.js';
import { type CrmfTemplate, readCrmfTemplate } from './crmf-template.js';
import { BODY_ITEMS_MAX, REG_TOKEN_CHARACTERS_MAX } from './limits.js';
import type { CertIdView } from './pki-message.js';

/** One CertReqMsg of an ir, cr or kur. */
export interface CertRequestView {
  readonly certReqId: number;
  /** Present where `popo` is 'signature': key, wishes and the signature over them, not yet verified. */
  readonly keyRequest: KeyRequest | null;
  readonly popo: 'signature' | 'raVerified' | 'none' | 'other';
  /** Whole Name; absent where the template names none. */
  readonly templateSubjectDer?: Buffer;
  /** The oldCertID control. */
  readonly oldCertId?: CertIdView;
  /** The regToken control, or the same type in regInfo. */
  readonly regToken?: string;
}

const WHAT = 'CertReqMsg';
const RA_VERIFIED = 0x80;
const SIGNATURE = 0xa1;
const EMPTY_NAME = sequence();

/**
 * Reads what one request asks for and how it proves possession of its key. The proof is verified over what is present: the
 * certRequest as received, or poposkInput where the client sent one, whatever the rule about subjects says, because
 * OpenSSL signs the certRequest also when it names no subject.
 *
 * Issuer, validity, serialNumber, version and signingAlg of the template are passed over.
 *
 * @param certReqMsgDer  one of the `requests` of {@link readPkiMessage}: its bytes are past the DER gate
 * @throws CmpFault badDataFormat form; badCertTemplate no key, or a template nobody could mean; badAlg; badPOP
 * @throws FemtoError KEY_WEAK a key we do not serve; KEY_BLOCKED a private key inside
 * @see RFC 4211 sections 3 to 6; RFC 9483 section 4.1.1
 */
export function readCertRequest(certReqMsgDer: Buffer): CertRequestView {
  refusePrivateKey(certReqMsgDer);
  const parts = faultAs('badDataFormat', () => readParts(certReqMsgDer));
  const template = faultAs('badCertTemplate', () => readCrmfTemplate(parts.template));
  const { certReqId, popo, attributes } = parts;
  const keyRequest = popo.kind === 'signature' ? keyRequestOf(certReqMsgDer, template, popo) : null;
  return {
    certReqId,
    keyRequest,
    popo: popo.kind,
    ...(template.subject === undefined ? {} : { templateSubjectDer: template.subject.der }),
    ...attributes,
  };
}

type Possession =
  | { readonly kind: 'raVerified' | 'none' | 'other' }
  | {
      readonly kind: 'signature';
      readonly signedDer: Buffer;
      /** The key in poposkInput, which must be the template's. */
      readonly inputSpkiDer?: Buffer;
      readonly algorithmDer: Buffer;
      readonly signature: Buffer;
    };

interface Attributes {
  readonly oldCertId?: CertIdView;
  readonly regToken?: string;
}

function readParts(der: Buffer): {
  certReqId: number;
  template: DerReader;
  popo: Possession;
  attributes: Attributes;
} {
  const message = readDer(der, TAG.SEQUENCE, WHAT);
  const certReq = message.expect(TAG.SEQUENCE, 'certReq');
  const popoElement = message.peekTag() === TAG.SEQUENCE || message.atEnd ? undefined : message.next();
  const regInfo = message.optional(TAG.SEQUENCE);
  message.end();
  const fields = new DerReader(certReq.content, 'certReq');
  const certReqId = shortInteger(fields.expect(TAG.INTEGER, 'certReqId').content, 'certReqId');
  const template = fields.enter(TAG.SEQUENCE, 'certTemplate');
  const controls = fields.optional(TAG.SEQUENCE);
  fields.end();
  return {
    certReqId,
    template,
    popo: readPossession(popoElement, certReq.der),
    attributes: readAttributes(controls, regInfo),
  };
}

function readPossession(element: DerElement | undefined, certReqDer: Buffer): Possession {
  if (element === undefined) return { kind: 'none' };
  if (element.tag === RA_VERIFIED) {
    if (element.content.length > 0) throw badDer('popo', 'has a NULL with content');
    return { kind: 'raVerified' };
  }
  if (element.tag === 0xa2 || element.tag === 0xa3) return { kind: 'other' };
  if (element.tag !== SIGNATURE) throw badDer('popo', 'is of no known kind');
  const fields = new DerReader(element.content, 'popo');
  const input = fields.optional(0xa0);
  const algorithmDer = fields.expect(TAG.SEQUENCE, 'algorithmIdentifier').der;
  const signature = wholeOctets(fields.expect(TAG.BIT_STRING, 'signature').content, 'popo');
  fields.end();
  if (input === undefined) return { kind: 'signature', signedDer: certReqDer, algorithmDer, signature };
  // Signed with the universal SEQUENCE tag in front, not the context tag it travels under (RFC 4211 section 4.1).
  const signedDer = sequence(input.content);
  return { kind: 'signature', signedDer, inputSpkiDer: inputKey(input.content), algorithmDer, signature };
}

/** publicKey of a POPOSigningKeyInput. Who it says it is from proves nothing here: the message's protection does. */
function inputKey(content: Buffer): Buffer {
  const fields = new DerReader(content, 'poposkInput');
  const authInfo = fields.next();
  if (authInfo.tag !== 0xa0 && authInfo.tag !== TAG.SEQUENCE) fields.fail('has no authInfo');
  const { der } = fields.expect(TAG.SEQUENCE, 'publicKey');
  fields.end();
  return der;
}

function keyRequestOf(
  der: Buffer,
  { spkiDer, subject, extensions }: CrmfTemplate,
  popo: Possession & { kind: 'signature' },
): KeyRequest {
  if (spkiDer === undefined) {
    throw new CmpFault(
      'badCertTemplate',
      'The request has no public key; make the key in the unit and send its public half.',
    );
  }
  if (popo.inputSpkiDer !== undefined && !popo.inputSpkiDer.equals(spkiDer)) {
    throw new CmpFault('badPOP', 'The proof of possession is for another key than the template names.');
  }
  const commonName = faultAs('badCertTemplate', () =>
    onlyAttribute(subject?.attributes ?? [], OID.commonName, 'subject'),
  );
  const { sanDns, asksFor } = faultAs('badCertTemplate', () => readWishes(extensions));
  const spki = faultAs('badCertTemplate', () => readSpki(spkiDer));
  const signatureAlgorithm = cmpSignatureAlgorithmOf(popo.algorithmDer);
  if (signatureAlgorithm === undefined) {
    throw new CmpFault(
      'badAlg',
      'The proof of possession is signed with an algorithm we refuse; use ecdsa-with-SHA256.',
      {
        facts: { algorithmDer: popo.algorithmDer.toString('hex', 0, 64) },
      },
    );
  }
  return {
    der,
    signedDer: popo.signedDer,
    spki,
    subjectDer: subject?.der ?? EMPTY_NAME,
    ...(commonName === undefined ? {} : { commonName }),
    sanDns,
    asksFor,
    signatureAlgorithm,
    signature: popo.signature,
  };
}

/** Controls and regInfo are lists of the same type; a control nobody here knows may be ignored (RFC 4211 section 6). */
function readAttributes(...lists: readonly (DerElement | undefined)[]): Attributes {
  let oldCertId: CertIdView | undefined;
  let regToken: string | undefined;
  for (const element of lists) {
    if (element === undefined) continue;
    const list = new DerReader(element.content, WHAT);
    let members = 0;
    do {
      members += 1;
      if (members > BODY_ITEMS_MAX) list.fail(`has more than ${BODY_ITEMS_MAX} controls`);
      const attribute = list.enter(TAG.SEQUENCE, 'control');
      const type = oidValue(attribute.expect(TAG.OID, 'control type').content, 'control');
      const value = attribute.next();
      attribute.end();
      if (type === OID.oldCertId) {
        if (oldCertId !== undefined) list.fail('has two oldCertID');
        oldCertId = oldCertIdOf(value);
      } else if (type === OID.regToken) {
        if (regToken !== undefined) list.fail('has two regToken');
        regToken = regTokenOf(value);
      }
    } while (!list.atEnd);
  }
  return { ...(oldCertId === undefined ? {} : { oldCertId }), ...(regToken === undefined ? {} : { regToken }) };
}

function oldCertIdOf(value: DerElement): CertIdView {
  if (value.tag !== TAG.SEQUENCE) throw badDer('oldCertID', 'is not a CertId');
  return readCmpCertId(new DerReader(value.content, 'oldCertID'), 'oldCertID');
}

function regTokenOf(value: DerElement): string {
  if (value.tag !== TAG.UTF8_STRING) throw badDer('regToken', 'is not a UTF8String');
  return utf8Value(value.content, REG_TOKEN_CHARACTERS_MAX, 'regToken');
}
