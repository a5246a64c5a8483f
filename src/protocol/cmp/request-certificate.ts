import type { CertificateRecord } from '../../lifecycle/model/index.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { CmpFault, readCertRequest } from '../../x509/cmp/index.js';
import { readCsr } from '../../x509/csr.js';
import { isEmptyName } from '../../x509/distinguished-name.js';
import type { KeyRequest } from '../../x509/key-request.js';
import { rememberedCertificate } from '../../x509/remembered-certificate.js';
import type { Answer } from './answer.js';
import { checkSubject } from './check-subject.js';
import type { CmpDeps } from './cmp-deps.js';
import type { Wish } from './exchange.js';
import { waitSecondsOf } from './fail-info-table.js';
import { noteRefusal } from './note-refusal.js';
import type { Sender } from './sender.js';

/**
 * ir, cr, p10cr, kur: what each means is decided by the key that protects it (rules sections 3 and 4).
 * Bootstrap or vendor key: activation, and kur is none. Operational key: ir is reactivation, everything else renewal.
 * Shared secret: a bootstrap certificate, never more. What is refused here is said in ip, cp or kup.
 */
export async function requestCertificate(deps: CmpDeps, wish: Wish): Promise<Answer> {
  const { message, sender, exchange } = wish;
  const kind = RESPONSE_KIND[message.body.kind as keyof typeof RESPONSE_KIND];
  const certReqId = message.body.kind === 'p10cr' ? P10CR_ID : CRMF_ID;
  try {
    const wanted = readWanted(message.body, sender);
    const { certificate, chain, implicitConfirm } = await issueAndRead(deps, wish, wanted);
    const { issuerId, serial, notAfter } = certificate;
    const root = chain.at(-1);
    return {
      body: {
        kind,
        certReqId,
        status: isAsWanted(wanted, certificate) ? 'accepted' : 'grantedWithMods',
        certificateDer: certificate.der,
        ...(kind === 'ip' && root !== undefined ? { caPubs: [root] } : {}),
      },
      next: implicitConfirm ? 'closed' : 'unconfirmed',
      certificate: { issuerId, serial, notAfter },
      // TS 33.310 clause 9.5.4: the operator's root and every CA below it.
      extraCerts: chain,
      implicitConfirm,
    };
  } catch (thrown) {
    if (asFemtoError(thrown).code === 'KEY_BLOCKED') {
      await deps.blockExposedKeys(message.der, `unit:${sender.unit.serialNumber}`);
    }
    const { failInfo, text } = await noteRefusal(deps, exchange, thrown);
    const checkAfterSeconds = waitSecondsOf(thrown);
    if (checkAfterSeconds === null) {
      return { body: { kind, certReqId, status: 'rejection', failInfo, text }, next: 'closed' };
    }
    return { body: { kind, certReqId, status: 'waiting', text }, next: 'waiting', checkAfterSeconds };
  }
}

const RESPONSE_KIND = { ir: 'ip', cr: 'cp', p10cr: 'cp', kur: 'kup' } as const;
/** RFC 9483 section 4.1: 0, and -1 where the request has no certReqId. */
export const CRMF_ID = 0;
export const P10CR_ID = -1;

interface Wanted {
  readonly csr: KeyRequest;
  /** Whole Name; undefined where the request leaves it to us. */
  readonly subjectDer: Buffer | undefined;
  /** Activation code. */
  readonly code: string | null;
}

type RequestBody = Wish['message']['body'];

/** Rows 14 to 17 of RFC 9483 section 3.5, up to what the use-cases judge. */
function readWanted(body: RequestBody, sender: Sender): Wanted {
  if (body.kind === 'p10cr') {
    const csr = readCsr(body.csrDer);
    checkSubject(csr.subjectDer, sender);
    return { csr, subjectDer: csr.subjectDer, code: null };
  }
  const [only, ...more] = 'requests' in body ? body.requests : [];
  if (only === undefined || more.length > 0) throw new CmpFault('badRequest', 'exactly one CertReqMsg is served');
  const request = readCertRequest(only);
  if (request.certReqId !== CRMF_ID) throw new CmpFault('badDataFormat', 'the certReqId must be 0');
  // Only a registration authority of ours could say so, and there is none.
  if (request.popo === 'raVerified') throw new CmpFault('notAuthorized', 'raVerified is for registration authorities');
  const { keyRequest: csr, oldCertId } = request;
  if (csr === null) throw new CmpFault('badPOP', 'the proof of possession must be a signature by the new key');
  if (oldCertId !== undefined && !isCertificateOf(sender, oldCertId)) {
    throw new CmpFault('badCertId', 'oldCertID must name the certificate that protects the message');
  }
  checkSubject(request.templateSubjectDer, sender);
  return { csr, subjectDer: request.templateSubjectDer, code: request.regToken ?? null };
}

function isCertificateOf(sender: Sender, { issuerDer, serial }: { issuerDer: Buffer; serial: Buffer }): boolean {
  if (sender.kind === 'mac') return false;
  const { certificate } = sender.credential;
  return certificate.issuerDer.equals(issuerDer) && certificate.serial.equals(serial);
}

interface Issued {
  readonly certificate: CertificateRecord;
  /** Issuing CA first, root last. */
  readonly chain: readonly Buffer[];
}

async function issue(deps: CmpDeps, { message, sender, exchange }: Wish, { csr, code }: Wanted): Promise<Issued> {
  const { kind } = message.body;
  if (sender.kind === 'mac') {
    return deps.factory.enrolBySecret({ reference: sender.reference, csr, address: exchange.call.address });
  }
  const { credential } = sender;
  const proved = { credential, csr, idempotencyKey: null, freshness: { by: 'handshake' } } as const;
  const renews = credential.kind === 'operational' && kind !== 'ir';
  if (!renews && kind === 'kur') {
    throw new FemtoError(
      'NOT_ACTIVATED',
      'A bootstrap or vendor certificate is not renewed; activate the unit with ir.',
    );
  }
  const { certificate } = renews
    ? await deps.renewal.renew({ ...proved, predecessorSignature: null })
    : await deps.enrolment.activate({ ...proved, code });
  return { certificate, chain: await deps.chainOf(certificate.issuerId) };
}

/**
 * The model is read beside the use-case, which never needs it: one round trip less on the way of a renewal. Neither leaves the
 * other behind: a refusal is said when nothing runs any more, and a certificate that is recorded is given, whatever became
 * of the read. Without it the unit must confirm.
 */
async function issueAndRead(
  deps: CmpDeps,
  wish: Wish,
  wanted: Wanted,
): Promise<Issued & { readonly implicitConfirm: boolean }> {
  const [issued, granted] = await Promise.allSettled([issue(deps, wish, wanted), grantsImplicitConfirm(deps, wish)]);
  if (issued.status === 'rejected') throw issued.reason;
  if (granted.status === 'rejected') deps.onInternal(granted.reason, wish.exchange.call.traceId);
  return { ...issued.value, implicitConfirm: granted.status === 'fulfilled' && granted.value };
}

/** Granted wherever it is asked for: the certificate then stays pending until its first use confirms it. */
async function grantsImplicitConfirm(deps: CmpDeps, { message, sender }: Wish): Promise<boolean> {
  if (message.asksImplicitConfirm) return true;
  const { tolerances } = await deps.registry.modelOf(deps.transactor.read, sender.unit);
  return tolerances.has('implicit-confirm-always');
}

/** Names come from the registry; a client that wanted other ones, or more, is told so (RFC 9483 section 4.1.1). */
function isAsWanted({ csr, subjectDer }: Wanted, { der }: CertificateRecord): boolean {
  if (csr.asksFor.otherNames.length > 0) return false;
  return (
    subjectDer === undefined || isEmptyName(subjectDer) || subjectDer.equals(rememberedCertificate(der).subjectDer)
  );
}
