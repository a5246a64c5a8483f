import type { Issuer } from '../../lifecycle/model/index.js';
import {
  CmpFault,
  type CrlStatusView,
  certReqTemplateValue,
  INFO_TYPE,
  type InfoItem,
  type ResponseBody,
  readCrlStatusList,
  rootCaKeyUpdateValue,
} from '../../x509/cmp/index.js';
import { oid, sequence } from '../../x509/der.js';
import { OID } from '../../x509/oids.js';
import type { CmpDeps, PublishedCrl } from './cmp-deps.js';
import type { ProvedMessage } from './exchange.js';

/**
 * genm: what a unit may ask before or beside enrolment. Nothing here is secret and nothing changes; the caller is any key
 * that we know, its certificate's status does not matter.
 *
 * @throws CmpFault badRequest: more than one question, or one that nobody here answers
 * @see RFC 9483 section 4.3; RFC 9810 section 5.3.19
 */
export async function answerInfo(
  deps: CmpDeps,
  { message: { body }, sender }: Pick<ProvedMessage, 'message' | 'sender'>,
): Promise<ResponseBody> {
  const [only, ...more] = body.kind === 'genm' ? body.items : [];
  if (more.length > 0) throw new CmpFault('badRequest', 'exactly one question is answered');
  // OpenSSL without -infotype asks nothing, to see whether we are there.
  if (only === undefined) return answer([]);
  const answers = ANSWERS.get(only.oid);
  if (answers === undefined) {
    throw new CmpFault('badRequest', 'this question is not answered', { facts: { infoType: only.oid } });
  }
  const issuerId = sender.kind === 'signature' ? (sender.credential.issuer?.id ?? null) : null;
  return answer([await answers(deps, { item: only, issuerId })]);
}

function answer(items: readonly InfoItem[]): ResponseBody {
  return { kind: 'genp', items };
}

interface Question {
  readonly item: InfoItem;
  /** The CA of ours that issued the caller's certificate; null for a vendor's. */
  readonly issuerId: number | null;
}

type Answering = (deps: CmpDeps, question: Question) => Promise<InfoItem>;

const ANSWERS: ReadonlyMap<string, Answering> = new Map<string, Answering>([
  [INFO_TYPE.caCerts, caCerts],
  [INFO_TYPE.rootCaCert, rootUpdate],
  [INFO_TYPE.certReqTemplate, requestTemplate],
  [INFO_TYPE.crlStatusList, newerCrl],
  [INFO_TYPE.currentCrl, currentCrl],
  [INFO_TYPE.signKeyPairTypes, keyTypes],
]);

/** CAs between a unit's trust anchors and what it meets. Roots are no news to whoever trusts them. */
async function caCerts({ issuers }: CmpDeps): Promise<InfoItem> {
  const certificates = (await issuers.all())
    .filter(({ kind, state }) => (kind === 'device-ca' || kind === 'services-ca') && state !== 'retired')
    .map(({ certificateDer }) => certificateDer);
  return { oid: INFO_TYPE.caCerts, valueDer: sequence(...certificates) };
}

/**
 * The root that follows the one that is named, or follows the first Access Root where none is; nothing where none does. A
 * unit that was away for several of them asks again with what it got.
 *
 * @see RFC 9483 section 4.3.2; RFC 9810 section 5.3.19.15
 */
async function rootUpdate({ issuers }: CmpDeps, { item: { valueDer } }: Question): Promise<InfoItem> {
  const all = await issuers.all();
  const named = all.find(({ kind, certificateDer }) =>
    valueDer === undefined ? kind === 'root-access' : certificateDer.equals(valueDer),
  );
  const link = (await issuers.successions()).find(({ predecessorId }) => predecessorId === named?.id);
  const next = all.find(({ id }) => id === link?.successorId);
  if (link === undefined || next === undefined) return { oid: INFO_TYPE.rootCaKeyUpdate };
  const { newWithOld, oldWithNew } = link;
  const valueOut = rootCaKeyUpdateValue({ newWithNew: next.certificateDer, newWithOld, oldWithNew });
  return { oid: INFO_TYPE.rootCaKeyUpdate, valueDer: valueOut };
}

/** Subject and names are the registry's whatever is asked for; what we are particular about is the key. */
async function requestTemplate(): Promise<InfoItem> {
  const valueDer = certReqTemplateValue({ keyAlgorithms: KEY_ALGORITHMS });
  return { oid: INFO_TYPE.certReqTemplate, valueDer };
}

async function keyTypes(): Promise<InfoItem> {
  return { oid: INFO_TYPE.signKeyPairTypes, valueDer: sequence(...KEY_ALGORITHMS) };
}

/** The CRL that a gateway looks the caller up in. */
async function currentCrl(deps: CmpDeps, { issuerId }: Question): Promise<InfoItem> {
  const ofVendor = (await deps.issuers.all()).find(({ kind, state }) => kind === 'device-ca' && state === 'active');
  const id = issuerId ?? ofVendor?.id;
  const crl = id === undefined ? null : await deps.crlOf(id);
  const der = crl === null ? null : await smallEnough(crl);
  return { oid: INFO_TYPE.currentCrl, ...(der === null ? {} : { valueDer: der }) };
}

/** The CRL of the CA that is named, where it is newer than the one the unit has. */
async function newerCrl(deps: CmpDeps, { item }: Question): Promise<InfoItem> {
  const [only, ...more] = item.valueDer === undefined ? [] : readCrlStatusList(item.valueDer);
  if (only === undefined || more.length > 0) throw new CmpFault('badRequest', 'exactly one CRLStatus is answered');
  const issuer = (await deps.issuers.all()).find((known) => isSource(only, known));
  const crl = issuer === undefined ? null : await deps.crlOf(issuer.id);
  const isNews = crl !== null && (only.thisUpdate === undefined || crl.thisUpdate > only.thisUpdate);
  const der = isNews ? await smallEnough(crl) : null;
  return { oid: INFO_TYPE.crls, ...(der === null ? {} : { valueDer: sequence(der) }) };
}

/**
 * An answer is made and protected as a whole for each who asks: what is long lies ready for all at its address.
 *
 * @throws CmpFault badRequest: fetch it there
 */
async function smallEnough(crl: PublishedCrl): Promise<Buffer | null> {
  if (crl.bytes <= CRL_BYTES_MAX) return crl.der();
  throw new CmpFault(
    'badRequest',
    'this CRL is too long for an answer; fetch it from the address in your certificate',
    {
      facts: { bytes: crl.bytes },
    },
  );
}

function isSource({ source }: CrlStatusView, { subjectDer, label }: Issuer): boolean {
  return source.names.some(({ kind, value }) =>
    source.kind === 'issuer'
      ? kind === 'directory' && value === subjectDer.toString('hex')
      : kind === 'uri' && value.endsWith(`/crl/${label}.crl`),
  );
}

/** Some twenty thousand entries. */
const CRL_BYTES_MAX = 1_048_576;
/** As key-policy takes them. */
const KEY_ALGORITHMS = [
  sequence(oid(OID.ecPublicKey), oid(OID.prime256v1)),
  sequence(oid(OID.ecPublicKey), oid(OID.secp384r1)),
];
