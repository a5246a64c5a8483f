import { createHash } from 'node:crypto';
import type { ChainFault, ChainJudge, ChainVerdict } from '../../platform/chain-judge.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { type ErrorCode, FemtoError } from '../../platform/errors.js';
import type { Certificate } from '../../x509/certificate.js';
import { checkKeyPolicy } from '../../x509/key-policy.js';
import { readCrl } from '../../x509/read-crl.js';
import type { Unit } from '../model/index.js';
import { plainModel, type UnitModel } from './model.js';
import type { ModelStore } from './model-store.js';
import type { UnitStore } from './unit-store.js';
import type { VendorAnchor, VendorAnchors } from './vendor-anchor.js';
import type { VendorAnchorStore } from './vendor-anchor-store.js';
import { pathTo } from './vendor-path.js';
import { VerdictMemory } from './verdict-memory.js';

export interface VendorDeps {
  readonly transactor: Transactor;
  readonly units: Pick<UnitStore, 'find'>;
  readonly models: Pick<ModelStore, 'model'>;
  readonly anchors: Pick<VendorAnchorStore, 'activeAnchors'>;
  readonly judge: ChainJudge;
}

export function makeVendorAnchors(deps: VendorDeps): VendorAnchors {
  const memory = new VerdictMemory();
  return { unitOf: (certificate, chain, at) => unitOf(deps, memory, { certificate, chain, at }) };
}

interface Presented {
  readonly certificate: Certificate;
  readonly chain: readonly Buffer[];
  readonly at: Date;
}

async function unitOf(deps: VendorDeps, memory: VerdictMemory, presented: Presented): Promise<Unit | null> {
  const { certificate, chain, at } = presented;
  const tx = deps.transactor.read;
  // 1. The manifest row decides whose key it is; a name in the certificate says nothing.
  const unit = await deps.units.find(tx, { vendorSpkiHash: certificate.spki.spkiHash });
  if (unit === null) return null;
  const key = { makerId: unit.makerId, model: unit.model };
  const model = (await deps.models.model(tx, key)) ?? plainModel(key);
  // 2. What the leaf is, by our own rules.
  checkLeaf(certificate, model, at);
  // 3. Which CAs could carry it, and to which anchor of this model.
  const anchors = await deps.anchors.activeAnchors(tx, key);
  if (anchors.length === 0) {
    throw unbelieved('no anchor', 'No anchor is registered for this maker and model; ask the operator to add one.');
  }
  const verdicts: ChainVerdict[] = [];
  for (const anchor of anchors) {
    const path = pathTo({
      leaf: certificate,
      sent: chain,
      registered: anchor.intermediates,
      anyOrder: model.tolerances.has('extra-certs-any-order'),
    });
    if (![certificate, ...path].some(({ issuerDer }) => issuerDer.equals(anchor.subjectDer))) continue;
    // 4. OpenSSL judges.
    verdicts.push(await judged(deps, memory, { leaf: certificate, path, anchor, at }));
  }
  settle(verdicts);
  return unit;
}

/** One anchor that carries it is enough, unless the maker says by another one that it is revoked. */
function settle(verdicts: readonly ChainVerdict[]): void {
  const refusals = verdicts.flatMap((verdict) => (verdict.isTrusted ? [] : [verdict]));
  const revoked = refusals.find(({ fault }) => fault === 'revoked');
  if (revoked !== undefined) throw refused(revoked);
  if (refusals.length < verdicts.length) return;
  const [first] = refusals;
  if (first !== undefined) throw refused(first);
  throw unbelieved(
    'no path',
    'The chain leads to no anchor of this maker and model; send the CAs between, each certifying the one before.',
  );
}

/**
 * @throws FemtoError CERT_NOT_YET_VALID, CERT_EXPIRED; KEY_WEAK; UNKNOWN_ISSUER for a certificate that is none of a device
 */
function checkLeaf(leaf: Certificate, model: UnitModel, at: Date): void {
  if (leaf.isCa || leaf.keyUsage.includes('keyCertSign')) {
    throw unbelieved('leaf is a CA', 'A CA certificate cannot stand for a unit; present the unit’s own one.');
  }
  const hasKeyUsage = leaf.keyUsage.length > 0;
  if (hasKeyUsage ? !leaf.keyUsage.includes('digitalSignature') : !model.tolerances.has('vendor-without-key-usage')) {
    throw unbelieved(
      hasKeyUsage ? 'no digitalSignature' : 'no keyUsage',
      'The vendor certificate does not say that its key signs (keyUsage digitalSignature); ask the operator.',
    );
  }
  if (leaf.notBefore > at) {
    throw new FemtoError('CERT_NOT_YET_VALID', 'The vendor certificate is not valid yet; set the unit’s clock.');
  }
  if (leaf.notAfter < at) {
    throw new FemtoError('CERT_EXPIRED', 'The vendor certificate has expired; ask the maker for a new one.');
  }
}

interface Case {
  readonly leaf: Certificate;
  readonly path: readonly Certificate[];
  readonly anchor: VendorAnchor;
  readonly at: Date;
}

async function judged({ judge }: VendorDeps, memory: VerdictMemory, { leaf, path, anchor, at }: Case) {
  const untrusted = path.map(({ der }) => der);
  const key = createHash('sha256');
  for (const der of [leaf.der, anchor.certificateDer, ...untrusted, Buffer.of(0), ...anchor.crls]) {
    key.update(createHash('sha256').update(der).digest());
  }
  return memory.recall(key.digest('hex'), at, async () => {
    // Numbers that take a while to look at; the judge knows sizes, not ROCA.
    for (const { spki } of [leaf, ...path]) checkKeyPolicy(spki);
    return judge.judge({
      leafDer: leaf.der,
      rootDer: anchor.certificateDer,
      untrusted,
      crls: anchor.crls,
      revocation: revocationOf(anchor),
      at,
    });
  });
}

/** With the root's own CRL every CA of the path is looked at, too; without it nothing could say anything about them. */
function revocationOf({ crls, subjectDer }: VendorAnchor): 'none' | 'leaf' | 'path' {
  if (crls.length === 0) return 'none';
  return crls.some((der) => readCrl(der).issuerDer.equals(subjectDer)) ? 'path' : 'leaf';
}

function refused(verdict: Extract<ChainVerdict, { isTrusted: false }>): FemtoError {
  const { code, sentence } = REFUSAL_OF[verdict.fault];
  return new FemtoError(code, `${sentence} (${verdict.text})`, {
    facts: { fault: verdict.fault, judge: verdict.text },
  });
}

const REFUSAL_OF: Readonly<Record<ChainFault, { readonly code: ErrorCode; readonly sentence: string }>> = {
  revoked: { code: 'CERT_REVOKED', sentence: 'The maker has revoked a certificate of this chain' },
  untrusted: { code: 'UNKNOWN_ISSUER', sentence: 'The chain does not prove that the maker certified this key' },
  weak: { code: 'KEY_WEAK', sentence: 'A key or a signature of the vendor chain is too weak' },
  'not-yet-valid': { code: 'CERT_NOT_YET_VALID', sentence: 'A certificate of the vendor chain is not valid yet' },
  expired: { code: 'CERT_EXPIRED', sentence: 'A certificate of the vendor chain has expired' },
  // Fails closed: a list that ran out says nothing about what was revoked since.
  crl: {
    code: 'UNKNOWN_ISSUER',
    sentence: 'The maker’s CRL is missing or has run out; the operator must register a current one',
  },
};

function unbelieved(fault: string, sentence: string): FemtoError {
  return new FemtoError('UNKNOWN_ISSUER', sentence, { facts: { fault } });
}
