import { hash } from 'node:crypto';
import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { gather } from '../../platform/gather.js';
import { canonicalAddress } from '../../platform/net/ip-address.js';
import { readCertificate } from '../../x509/certificate.js';
import { readCertificateHead } from '../../x509/certificate-head.js';
import { headOf, judgeUse, type LineageView, type UseVerdict } from '../lineage/index.js';
import type { NetworkSubject, NetworkVerdict } from '../registry/index.js';
import type { AdmissionDeps, Asked } from './admission-deps.js';
import { carryOut, isOneRow, type Judged, needsItsOwnTransaction, recordAll } from './carry-out.js';
import { isOurs, isStranger, judge } from './checks.js';
import type { AskingGateway, AuthoriseRequest, Decision } from './decision.js';
import type { FactsPage, KnownFacts, ShownCertificate } from './facts.js';

/**
 * Decides whether a unit may connect now.
 *
 * @throws FemtoError BAD_REQUEST for a certificate, address or nonce that cannot be read; RETRY_LATER when the record
 *   cannot be read, or is older than {@link STATE_AGE_MS_MAX}. Neither is ever a permit.
 */
export type Authorise = (gateway: AskingGateway, request: AuthoriseRequest) => Promise<Decision>;

export const PERMIT_TTL_SECONDS = 15 * 60;
/** Whoever answers from a state that may be older answers nothing (rules 5.3). */
export const STATE_AGE_MS_MAX = 5_000;
/**
 * One statement's worth. Where more ask, the next group is read while the database works on this one: in one group of all who
 * ask, this process and the database would only ever wait for each other.
 */
const TOGETHER_MAX = 32;

/**
 * Those who ask while others are being answered are answered together: one statement reads for all, one transaction
 * writes for all, and nobody waits for company. What changes more than a row of the answer goes alone, each in a
 * transaction of its own that begins anew.
 */
export function makeAuthorise(deps: AdmissionDeps): Authorise {
  const together = gather<Asked, Decision | null>((asked) => decideTogether(deps, asked), { rowsMax: TOGETHER_MAX });
  return async (gateway, request) => {
    // 1. Read what was sent, bounded and strict; 2. whose does it say that it is.
    const asked = await readRequest(deps, gateway, request);
    try {
      return (await together(asked)) ?? (await decideAlone(deps, asked));
    } catch (thrown) {
      if (thrown instanceof FemtoError) throw thrown;
      deps.onTrouble(thrown);
      throw new FemtoError('RETRY_LATER', 'The record cannot be asked now; nothing was decided. Ask again.', {
        cause: thrown,
        retryAfterSeconds: 1,
      });
    }
  };
}

async function readRequest(deps: AdmissionDeps, gateway: AskingGateway, request: AuthoriseRequest): Promise<Asked> {
  const address = canonicalAddress(request.address);
  if (address === null) {
    throw new FemtoError('BAD_REQUEST', 'The address is not an IPv4 or IPv6 address; send the outer source address.');
  }
  const der = request.certificateDer;
  const head = readCertificateHead(der);
  const named = (await deps.issuers.all()).find(({ subjectDer }) => subjectDer.equals(head.issuerDer)) ?? null;
  const shown = { ...head, der, fingerprint: hash('sha256', der, 'hex'), whole: null };
  const asked = { gateway, request, address, now: deps.clock.now() };
  if (isOurs(named)) return { ...asked, shown, issuer: named, issuerId: named.id };
  const whole = readCertificate(der);
  const issuer = await deps.issuers.bySpkiOrSignature(whole);
  return { ...asked, shown: { ...shown, whole }, issuer, issuerId: isOurs(issuer) ? issuer.id : null };
}

/** In the order of those who asked; null for whom this is not enough. */
async function decideTogether(deps: AdmissionDeps, asked: readonly Asked[]): Promise<(Decision | null)[]> {
  // 3. What do we know of them, at one instant. Nothing is decided while reading.
  const page = await readFacts(deps, deps.db.read, asked);
  const networkOf = await deps.network.judgeBy(deps.db.read, page.policyVersion);
  // 4. Run every check; list every reason.
  const judged = asked.map((one, index) =>
    judgeOne(one, page, { index, view: null, networkOf, successorLineId: null }),
  );
  // 5. Write down the answers before they are given; what asks for more is left to a transaction of its own.
  const plain = judged.filter((one) => !needsItsOwnTransaction(one));
  // Permits that leave no other trace are one statement, which is a transaction of its own.
  if (plain.every(isOneRow)) await recordAll(deps, deps.db.read, plain);
  else await deps.db.run((tx) => recordAll(deps, tx, plain));
  return judged.map((one) => (needsItsOwnTransaction(one) ? null : decisionOf(one)));
}

/** The same for one, with its unit locked: what it saw is what it changes. */
async function decideAlone(deps: AdmissionDeps, light: Asked): Promise<Decision> {
  const whole = light.shown.whole ?? readCertificate(light.shown.der);
  const issuer = await deps.issuers.bySpkiOrSignature(whole);
  const asked = { ...light, issuer, shown: { ...light.shown, whole } };
  return await deps.db.run(async (tx) => {
    const before = await readFacts(deps, tx, [asked]);
    const unitId = before.known[0]?.unit?.id;
    if (unitId !== undefined) await deps.registry.unitById(tx, unitId, { lock: 'update' });
    const page = await readFacts(deps, tx, [asked]);
    const lineageId = page.known[0]?.slot?.lineageId;
    const view = lineageId === undefined ? null : await deps.lineages.view(tx, lineageId);
    const networkOf = await deps.network.judgeBy(tx, page.policyVersion);
    const successorLineId = view === null ? null : await successorLine(deps, tx, view, page.known[0]?.unit?.lineId);
    const judgeNow = (facts: FactsPage) => judgeOne(asked, facts, { index: 0, view, networkOf, successorLineId });
    // 5. Carry out what the reasons ask for: a move, a confirmation, evidence, an unrecorded serial.
    const judged = await carryOut(deps, tx, judgeNow(page), async () => judgeNow(await readFacts(deps, tx, [asked])));
    await recordAll(deps, tx, [judged]);
    return decisionOf(judged);
  });
}

async function readFacts(deps: AdmissionDeps, tx: Transaction, asked: readonly Asked[]): Promise<FactsPage> {
  const page = await deps.reader.facts(tx, asked, deps.clock.now());
  if (page.stateAgeMs !== null && page.stateAgeMs <= STATE_AGE_MS_MAX) return page;
  throw new FemtoError('RETRY_LATER', 'The record may be behind: its primary was not heard of for 5 s. Ask again.', {
    retryAfterSeconds: 1,
    facts: { stateAgeMs: page.stateAgeMs },
  });
}

interface Light {
  readonly index: number;
  /** All of the lineage; null = the presented slot alone. */
  readonly view: LineageView | null;
  readonly networkOf: (subject: NetworkSubject) => NetworkVerdict;
  readonly successorLineId: number | null;
}

function judgeOne(asked: Asked, page: FactsPage, { index, view, networkOf, successorLineId }: Light): Judged {
  const { request, shown, address, now } = asked;
  const read = page.known[index] ?? NOTHING;
  // The exact issuing key, never a name: the bytes that issuance recorded, or else the signature itself.
  const issuer = read.recorded || shown.whole !== null ? asked.issuer : null;
  // Whatever stands under a serial says nothing about somebody else's certificate that carries the same.
  const known = isOurs(issuer) ? read : { ...NOTHING, line: read.line };
  const use = useOf(known, { view, now, keyProved: request.keyProved, successorLineId });
  const network = networkOf({
    event: request.stage,
    address,
    batch: known.unit?.batch ?? null,
    model: known.unit?.model ?? null,
    region: known.unit?.region ?? null,
  });
  const { verdict, reasons } = judge({ now, request, shown, issuer, known, use, network });
  return { asked, issuer, known, use, view, network, page, verdict, reasons, isStranger: isStranger(reasons) };
}

const NOTHING: KnownFacts = {
  serialKnown: false,
  recorded: false,
  status: 'good',
  keyBlocked: false,
  unit: null,
  slot: null,
  line: null,
};

function useOf(
  { slot, line }: KnownFacts,
  {
    view,
    now,
    keyProved,
    successorLineId,
  }: Pick<Light, 'view' | 'successorLineId'> & { now: Date; keyProved: boolean },
): UseVerdict | null {
  if (slot === null) return null;
  return judgeUse({
    now,
    lineageState: view?.lineage.state ?? slot.lineageState,
    slots: view?.slots ?? [slot],
    presentedSlotId: slot.id,
    keyProved,
    authoritativeLineId: line?.authoritative ? line.lineId : null,
    successorLineId,
  });
}

/** Where the head was confirmed or last used, which a thief's renewal does from elsewhere; else where the unit belongs. */
async function successorLine(
  deps: AdmissionDeps,
  tx: Transaction,
  { slots }: LineageView,
  unitLineId: number | null | undefined,
): Promise<number | null> {
  const head = headOf(slots);
  const lineId = head === null ? null : await deps.lineages.lineOfSlot(tx, head.id);
  return lineId ?? unitLineId ?? null;
}

function decisionOf({ asked, known, page, verdict, reasons }: Judged): Decision {
  const { request, shown, gateway, address, now } = asked;
  return {
    verdict,
    reasons,
    ttlSeconds: verdict === 'deny' ? 0 : ttlSeconds(shown, now),
    unit: known.unit?.fqdn ?? null,
    certificateSha256: shown.fingerprint,
    gateway: gateway.name,
    nonce: request.nonce,
    address,
    stage: request.stage,
    decidedAt: now,
    position: page.position,
  };
}

/** A permit never outlives the certificate. */
function ttlSeconds({ notAfter }: ShownCertificate, now: Date): number {
  const left = Math.floor((notAfter.getTime() - now.getTime()) / 1_000);
  return Math.max(0, Math.min(PERMIT_TTL_SECONDS, left));
}
