import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { type ErrorCode, FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { canonicalAddress } from '../../platform/net/ip-address.js';
import { type Certificate, readCertificate } from '../../x509/certificate.js';
import { serialHex } from '../../x509/serial.js';
import {
  type ForkReport,
  headOf,
  judgeUse,
  type Lineages,
  type LineageView,
  type UseVerdict,
} from '../lineage/index.js';
import { type Issuer, mayServe, type Unit, type UnitState } from '../model/index.js';
import type { IssuerDirectory, Registry, ResolvedLine } from '../registry/index.js';
import type { Revocation } from '../revocation/index.js';
import type { AdmissionReader, AskingGateway, AuthoriseRequest, Decision, DecisionStore } from './decision.js';

export interface AdmissionDeps {
  readonly db: Transactor;
  readonly clock: Clock;
  readonly issuers: IssuerDirectory;
  readonly registry: Registry;
  readonly lineages: Lineages;
  readonly revocation: Revocation;
  readonly reader: AdmissionReader;
  readonly decisions: DecisionStore;
  readonly ledger: Ledger;
}

export const PERMIT_TTL_SECONDS = 15 * 60;
/** A life above the signer's ceiling came from somewhere else, whoever signed it (rules 2.5). */
const LIFE_CEILING_MS = 31 * 86_400_000 + 1_000;

/**
 * Decides whether a unit may connect now. One transaction: what it saw is what it wrote down.
 *
 * @throws FemtoError BAD_REQUEST for a certificate, address or nonce that cannot be read; RETRY_LATER when the state
 *   cannot be read. Neither is ever a permit.
 */
export async function authorise(
  deps: AdmissionDeps,
  gateway: AskingGateway,
  request: AuthoriseRequest,
): Promise<Decision> {
  const now = deps.clock.now();
  // 1. Read what was sent, bounded and strict.
  const certificate = readCertificate(request.certificateDer);
  const address = canonicalAddress(request.address);
  if (address === null) {
    throw new FemtoError('BAD_REQUEST', 'The address is not an IPv4 or IPv6 address; send the outer source address.');
  }
  // 2. Whose is it: the exact issuing key, never a name.
  const issuer = await deps.issuers.bySpkiOrSignature(certificate);
  return await deps.db.run(async (tx) => {
    // 3. What do we know of it. Nothing is decided while reading.
    const facts = await gather(deps, tx, { certificate, issuer, address, now, request });
    // 4. Run every check; list every reason.
    const reasons = allReasons(facts);
    const verdict = reasons.some((reason) => !SOFT_REASONS.has(reason)) ? 'deny' : 'permit';
    // 5. Carry out what the reasons ask for: confirm, contact, evidence, an unrecorded serial.
    if (verdict === 'permit') await noteUse(deps, tx, facts, gateway);
    else await noteRefusal(deps, tx, facts, gateway, reasons);
    // 6. Write down the answer before it is given.
    await deps.decisions.add(tx, {
      at: now,
      gatewayId: gateway.machineId,
      unitId: facts.unit?.id ?? null,
      issuerId: issuer?.id ?? null,
      serial: certificate.serial,
      stage: request.stage,
      keyProved: request.keyProved,
      verdict,
      reasons,
      address,
      lineId: facts.line?.lineId ?? null,
    });
    return {
      verdict,
      reasons,
      ttlSeconds: verdict === 'permit' ? ttlSeconds(certificate, now) : 0,
      unit: facts.unit?.fqdn ?? null,
      certificateSha256: certificate.fingerprint,
      gateway: gateway.name,
      nonce: request.nonce,
      address,
      stage: request.stage,
      decidedAt: now,
      position: await deps.reader.ledgerPosition(tx),
    };
  });
}

/** Reasons that are told and never deny by themselves (rules 5.5). */
const SOFT_REASONS: ReadonlySet<ErrorCode> = new Set(['NET_UNKNOWN']);

interface Facts {
  readonly now: Date;
  readonly request: AuthoriseRequest;
  readonly certificate: Certificate;
  readonly issuer: Issuer | null;
  readonly recorded: boolean;
  readonly serialKnown: boolean;
  readonly status: 'good' | 'held' | 'revoked';
  readonly keyBlocked: boolean;
  readonly unit: Unit | null;
  readonly lineage: LineageView | null;
  readonly use: UseVerdict | null;
  readonly slotId: number | null;
  readonly line: ResolvedLine | null;
}

async function gather(
  deps: AdmissionDeps,
  tx: Transaction,
  input: Pick<Facts, 'certificate' | 'issuer' | 'now' | 'request'> & { address: string },
): Promise<Facts> {
  const { certificate, issuer, now, request } = input;
  const line = await deps.registry.lineAt(tx, input.address, now);
  const nothing = {
    recorded: false,
    serialKnown: false,
    status: 'good',
    keyBlocked: false,
    unit: null,
    lineage: null,
    use: null,
    slotId: null,
  } as const;
  if (issuer?.kind !== 'device-ca') return { now, request, certificate, issuer, line, ...nothing };
  const key = { issuerId: issuer.id, serial: certificate.serial, notAfter: certificate.notAfter };
  const record = await deps.reader.record(tx, key);
  const status = await deps.reader.status(tx, key);
  const keyBlocked = await deps.reader.isBlockedKey(tx, certificate.spki.spkiHash);
  const recorded = record?.der.equals(certificate.der) ?? false;
  const unit = recorded && record?.unitId != null ? await deps.registry.unitById(tx, record.unitId) : null;
  const slot = recorded ? await deps.lineages.slotBySerial(tx, issuer.id, certificate.serial) : null;
  const lineage = slot ? await deps.lineages.view(tx, slot.lineageId) : null;
  const use =
    slot && lineage
      ? judgeUse({
          now,
          lineageState: lineage.lineage.state,
          slots: lineage.slots,
          presentedSlotId: slot.id,
          keyProved: request.keyProved,
          authoritativeLineId: line?.authoritative ? line.lineId : null,
          successorLineId: await successorLine(deps, tx, lineage, unit),
        })
      : null;
  return {
    now,
    request,
    certificate,
    issuer,
    recorded,
    serialKnown: record !== null,
    status,
    keyBlocked,
    unit,
    lineage,
    use,
    slotId: slot?.id ?? null,
    line,
  };
}

/** Where the head was confirmed or last used, which a thief's renewal does from elsewhere; else where the unit belongs. */
async function successorLine(
  deps: AdmissionDeps,
  tx: Transaction,
  { slots }: LineageView,
  unit: Unit | null,
): Promise<number | null> {
  const head = headOf(slots);
  const lineId = head === null ? null : await deps.lineages.lineOfSlot(tx, head.id);
  return lineId ?? unit?.lineId ?? null;
}

type Check = (facts: Facts) => ErrorCode | null;

/** In the order in which a person would ask. Each looks at one thing. */
const CHECKS: readonly Check[] = [
  ({ issuer }) => (issuer?.kind === 'device-ca' && issuer.state !== 'retired' ? null : 'UNKNOWN_ISSUER'),
  ({ issuer, recorded }) => (issuer?.kind !== 'device-ca' || recorded ? null : 'NOT_RECORDED'),
  ({ certificate: { notBefore, notAfter } }) =>
    notAfter.getTime() - notBefore.getTime() > LIFE_CEILING_MS ? 'LIFETIME_EXCEEDS_CEILING' : null,
  ({ certificate, now }) => (now < certificate.notBefore ? 'CERT_NOT_YET_VALID' : null),
  ({ certificate, now }) => (now > certificate.notAfter ? 'CERT_EXPIRED' : null),
  ({ status }) => (status === 'good' ? null : 'CERT_REVOKED'),
  ({ keyBlocked }) => (keyBlocked ? 'KEY_BLOCKED' : null),
  ({ certificate, request }) =>
    certificate.sanDns.length === 1 && certificate.sanDns[0] === request.identity.toLowerCase() ? null : 'ID_MISMATCH',
  ({ unit, certificate }) => (unit && unit.fqdn !== certificate.sanDns[0] ? 'ID_MISMATCH' : null),
  ({ unit, recorded }) => (recorded && !unit ? 'UNREGISTERED' : null),
  ({ unit }) => (unit ? STATE_REASON[unit.state] : null),
  ({ use, recorded }) => (use?.kind === 'deny' ? use.code : recorded && !use ? 'NOT_ACTIVATED' : null),
  ({ unit, line }) => (unit && line?.authoritative && line.lineId !== unit.lineId ? 'LINE_MISMATCH' : null),
  ({ line }) => (line?.authoritative ? null : 'NET_UNKNOWN'),
];

const STATE_REASON: Readonly<Record<UnitState, ErrorCode | null>> = {
  MANIFESTED: 'NOT_ACTIVATED',
  BOOTSTRAPPED: 'NOT_ACTIVATED',
  ACTIVE: null,
  // A certificate that is still inside its life and its lineage: the unit woke up inside its tier.
  DORMANT: null,
  SUSPENDED: 'DEVICE_SUSPENDED',
  QUARANTINED: 'DEVICE_QUARANTINED',
  LOST: 'DEVICE_LOST',
  RETIRED: 'DEVICE_RETIRED',
};

function allReasons(facts: Facts): ErrorCode[] {
  const reasons = CHECKS.map((check) => check(facts)).filter((reason) => reason !== null);
  // Fail closed: a permit is only what names a unit that may serve.
  const soft = reasons.every((reason) => SOFT_REASONS.has(reason));
  if (soft && !(facts.unit && mayServe(facts.unit.state) && facts.use?.kind === 'permit')) reasons.push('DENIED');
  return [...new Set(reasons)];
}

async function noteUse(deps: AdmissionDeps, tx: Transaction, facts: Facts, gateway: AskingGateway): Promise<void> {
  const { unit, use, slotId, now, line, request } = facts;
  // A claim without proof of the key marks nothing (rules 5.1).
  if (!request.keyProved || !unit || slotId === null || use?.kind !== 'permit') return;
  const lineId = line?.authoritative ? line.lineId : null;
  if (use.confirmsSlotId !== null) {
    const actor = `machine:${gateway.name}`;
    await deps.lineages.confirmSlot(tx, { slotId: use.confirmsSlotId, by: 'first-permit', at: now, actor, lineId });
  }
  await deps.lineages.touchSlot(tx, { slotId, at: now, lineId });
  await deps.registry.touchContact(tx, unit.id, now);
}

async function noteRefusal(
  deps: AdmissionDeps,
  tx: Transaction,
  facts: Facts,
  gateway: AskingGateway,
  reasons: readonly ErrorCode[],
): Promise<void> {
  const { certificate, issuer, unit, use, lineage, now, request } = facts;
  const actor = `machine:${gateway.name}`;
  const subject = unit ? `unit:${unit.serialNumber}` : `certificate:${serialHex(certificate.serial)}`;
  await deps.ledger.append(tx, [
    {
      kind: 'admission.denied',
      subject,
      at: now,
      body: {
        reasons,
        gateway: gateway.name,
        stage: request.stage,
        keyProved: request.keyProved,
        address: facts.request.address,
        line: facts.line?.name ?? null,
        certificateSha256: certificate.fingerprint,
        serialKnown: facts.serialKnown,
        grade: use?.kind === 'deny' ? use.grade : null,
      },
    },
  ]);
  // Signed by our key and unknown to our record: the worst news there is. The serial goes on the CRL (rules 5.7).
  if (issuer?.kind === 'device-ca' && !facts.serialKnown) {
    await deps.revocation.revokeUnrecorded(
      tx,
      {
        issuerId: issuer.id,
        serial: certificate.serial,
        notAfter: certificate.notAfter,
        spkiHash: certificate.spki.spkiHash,
      },
      { actor, at: now },
    );
  }
  // A revoked or held certificate is refused and recorded, and starts nothing (rules section 4).
  if (use?.kind !== 'deny' || !lineage || facts.status !== 'good') return;
  const report = {
    lineageId: lineage.lineage.id,
    at: now,
    actor,
    row: `use:${use.code}`,
    presentedSlotId: facts.slotId,
    successorSlotId: headOf(lineage.slots)?.id ?? null,
    facts: { gateway: gateway.name },
  };
  if (use.grade === 'hard') await containFork(deps, tx, report, unit);
  else if (use.grade) await deps.lineages.recordFork(tx, { ...report, grade: use.grade });
}

/** Both branches, in the transaction that saw the fork: whoever asks OCSP or the CRL hears of it too (rules section 4). */
async function containFork(deps: AdmissionDeps, tx: Transaction, report: ForkReport, unit: Unit | null): Promise<void> {
  if (unit) await deps.registry.unitById(tx, unit.id, { lock: 'update' });
  await deps.lineages.quarantineLineage(tx, report);
  if (!unit) return;
  const { actor, at } = report;
  await deps.revocation.quarantine(tx, { unitId: unit.id, actor, note: `FORK_HARD: ${report.row}`, at });
}

/** A permit never outlives the certificate. */
function ttlSeconds(certificate: Certificate, now: Date): number {
  const left = Math.floor((certificate.notAfter.getTime() - now.getTime()) / 1_000);
  return Math.max(0, Math.min(PERMIT_TTL_SECONDS, left));
}
