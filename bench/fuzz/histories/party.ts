import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import type { CertificateRecord } from '../../../src/lifecycle/model/index.js';
import type { ProvedCredential, RenewalRequest } from '../../../src/lifecycle/renewal/index.js';
import { predecessorText } from '../../../src/lifecycle/renewal/renew.js';
import { FemtoError } from '../../../src/platform/errors.js';
import { assembleCsr, certificationRequestInfo } from '../../../src/x509/build-csr.js';
import type { Oracle } from './oracle.js';
import type { Range, RangeUnit } from './range.js';
import type { Answer, History } from './step.js';

export interface Key {
  readonly privateKey: KeyObject;
  readonly spkiDer: Buffer;
  readonly hex: string;
}

/** A certificate with its key, as it lies on flash. */
export interface Held {
  readonly key: Key;
  readonly record: CertificateRecord;
}

/** An IKE session that is really there, as its gateway knows it. */
export interface LiveSession {
  readonly gateway: number;
  readonly spis: Buffer;
  address: string;
}

/** A renewal that went over the wire, for whoever listens. */
export interface Recording {
  readonly request: Omit<RenewalRequest, 'credential'>;
  readonly credential: ProvedCredential;
}

export function makeKey(): Key {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const spkiDer = publicKey.export({ type: 'spki', format: 'der' });
  return { privateKey, spkiDer, hex: spkiDer.toString('hex') };
}

/** A holder of keys that behaves as the reference agent does: the old certificate is used until the new one is there. */
export class Party {
  next: Key | null = null;
  session: LiveSession | null = null;
  /** True between a lost answer and the next one that arrives. */
  private lost = false;

  constructor(
    readonly unit: RangeUnit,
    readonly client: History['client'],
    readonly oracle: Oracle,
    public held: Held,
  ) {}

  /** What is on flash, in another's hand. The session stays with the original. */
  copy(): Party {
    const copy = new Party(this.unit, this.client, this.oracle, this.held);
    copy.next = this.next;
    return copy;
  }

  /** Asks for the next certificate. Refusals are answers like any other. */
  async renew(
    range: Range,
    proof: 'nonce' | 'handshake',
    answer: Answer,
    address: string,
  ): Promise<{ outcome: string; recording: Recording }> {
    if (this.lost && this.client === 'makes a new key') this.forget();
    this.next ??= makeKey();
    const { next } = this;
    const { held, oracle } = this;
    const credential = await prove(range, held, address);
    const request = requestOf(range, held, next, this.unit.fqdn, proof);
    const outcome = await told(async () => {
      const { certificate, repeated } = await range.rooms.renewal.renew({ credential, ...request });
      // The request proved the old key: a renewal confirms what it follows.
      oracle.issued(next.hex, held.key.hex);
      if (!repeated) oracle.confirmed(held.key.hex, range.clock.nowMs);
      if (answer === 'lost') this.lost = true;
      else this.take({ key: next, record: certificate });
      return repeated ? 'the same' : 'renewed';
    });
    // A refusal by the table looked at both keys; one by the tiers, or before it, did not.
    if (!['RETRY_LATER', 'REACTIVATE', 'RATE_LIMITED'].some((code) => outcome.includes(code)))
      oracle.askedFor(next.hex, held.key.hex);
    if (outcome.includes('FORK_HARD')) oracle.used(held.key.hex);
    return { outcome, recording: { request, credential } };
  }

  async confirm(range: Range, answer: Answer, address: string): Promise<string> {
    const { held, oracle } = this;
    const credential = await prove(range, held, address);
    return told(async () => {
      try {
        await range.rooms.renewal.confirm({ credential });
      } finally {
        oracle.used(held.key.hex);
      }
      oracle.confirmed(held.key.hex, range.clock.nowMs);
      return answer === 'lost' ? 'confirmed, unheard' : 'confirmed';
    });
  }

  powerCut(): void {
    this.forget();
    this.session = null;
  }

  private forget(): void {
    if (this.next !== null) this.oracle.newKeysAfterLoss += 1;
    this.next = null;
    this.lost = false;
  }

  private take(held: Held): void {
    this.held = held;
    this.next = null;
    this.lost = false;
  }
}

/** A full handshake that ends now. */
export async function prove(range: Range, { record }: Held, address: string): Promise<ProvedCredential> {
  range.clock.nowMs += 500;
  const credential = await range.rooms.enrolment.authenticate({
    der: record.der,
    chain: [],
    provedAt: range.clock.now(),
    address,
  });
  range.clock.nowMs += 500;
  return credential;
}

function requestOf(
  range: Range,
  held: Held,
  next: Key,
  fqdn: string,
  proof: 'nonce' | 'handshake',
): Recording['request'] {
  const idempotencyKey = randomBytes(12).toString('hex');
  if (proof === 'handshake') {
    const csr = csrOf(next, fqdn);
    return { csr, predecessorSignature: null, idempotencyKey: null, freshness: { by: 'handshake' } };
  }
  const { nonce } = range.rooms.enrolment.issueNonce({ spkiHash: held.record.spkiHash });
  range.clock.nowMs += 100;
  const csr = csrOf(next, fqdn, nonce);
  const predecessorSignature = sign('sha256', predecessorText(nonce, csr), held.key.privateKey);
  return { csr, predecessorSignature, idempotencyKey, freshness: { by: 'nonce' } };
}

function csrOf(key: Key, commonName: string, nonce?: string): Buffer {
  const info = certificationRequestInfo({
    commonName,
    spkiDer: key.spkiDer,
    ...(nonce === undefined ? {} : { challengePassword: nonce }),
  });
  return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key.privateKey));
}

/** What came back, in a word; anything that is not an answer of ours is a fault. */
export async function told(work: () => Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof FemtoError) || error.code === 'INTERNAL') throw error;
    const row = error.facts['row'];
    return `refused ${error.code}${typeof row === 'string' ? ` (${row})` : ''}`;
  }
}
