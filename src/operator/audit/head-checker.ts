import { type KeyObject, verify, X509Certificate } from 'node:crypto';
import { FemtoError } from '../../platform/errors.js';
import { type AuditHead, parseAuditHead } from '../../platform/hsm/audit-head.js';
import type { ChainChecker } from './chain-checker.js';
import type { Findings } from './findings.js';
import type { StoredHead } from './ledger-source.js';

interface AuditKey {
  readonly publicKey: KeyObject;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
}

/** Certificates that say which keys sign heads, and when. */
export class AuditKeys {
  readonly #keys: readonly AuditKey[];
  readonly fingerprints: readonly string[];

  constructor(certificatePems: readonly string[]) {
    const certificates = certificatePems.map((pem) => new X509Certificate(pem));
    this.fingerprints = certificates.map((certificate) => certificate.fingerprint256.replaceAll(':', '').toLowerCase());
    this.#keys = certificates.map((certificate) => ({
      publicKey: certificate.publicKey,
      notBeforeMs: Date.parse(certificate.validFrom),
      notAfterMs: Date.parse(certificate.validTo),
    }));
  }

  get known(): boolean {
    return this.#keys.length > 0;
  }

  /** The head a text states, if an audit key that was valid then signed it; else what is wrong. */
  verified(headText: string, signature: Buffer): AuditHead | string {
    let head: AuditHead;
    try {
      head = parseAuditHead(headText);
    } catch (thrown) {
      if (!(thrown instanceof FemtoError)) throw thrown;
      return 'its text is not that of a head';
    }
    const bytes = Buffer.from(headText, 'latin1');
    const signers = this.#keys.filter(({ publicKey }) => verify('sha256', bytes, publicKey, signature));
    if (signers.length === 0) return 'no audit key signed it';
    const atMs = head.at.getTime();
    const inTime = signers.some(({ notBeforeMs, notAfterMs }) => notBeforeMs <= atMs && atMs <= notAfterMs);
    return inTime ? head : 'the audit certificate was not valid at its time';
  }
}

export interface HeadContext {
  readonly epoch: number;
  readonly installation: string | null;
  readonly keys: AuditKeys;
  readonly findings: Findings;
}

/** Judges the stored heads of an epoch, smallest first. */
export class HeadChecker {
  /** Largest size whose signed root the rows still make. */
  lastProvedSize = 0;
  lastSize = 0;
  lastAt: Date | null = null;
  count = 0;
  readonly #sizes = new Set<number>();
  #contradictions = 0;

  constructor(private readonly context: HeadContext) {}

  has(size: number): boolean {
    return this.#sizes.has(size);
  }

  take(stored: StoredHead, chain: ChainChecker): void {
    const { epoch, findings, keys } = this.context;
    this.count += 1;
    this.#sizes.add(stored.size);
    const place = { epoch, seq: this.lastProvedSize + 1, seqTo: stored.size };
    const head = keys.verified(stored.headText, stored.signature);
    const fault = typeof head === 'string' ? head : differs(stored, head, this.context.installation);
    if (typeof head === 'string' || fault !== null) {
      findings.add('HEAD_FORGED', `The head of size ${stored.size} is forged: ${fault}.`, place);
      return;
    }
    this.lastSize = stored.size;
    this.lastAt = stored.at;
    if (stored.size > chain.size) return; // reported with the end of the ledger
    if (chain.size !== stored.size || chain.root === null || chain.chainHash === null) return; // behind a reported gap
    if (chain.root.toString('hex') === head.rootHex && chain.chainHash.toString('hex') === head.chainHex) {
      this.lastProvedSize = stored.size;
      return;
    }
    this.#contradictions += 1;
    if (this.#contradictions > 1) return; // every later head contradicts too; the first one bounds the range
    findings.add(
      'HEAD_CONTRADICTS',
      `The head of size ${stored.size} was signed over other entries: something between ${place.seq} and ${stored.size} was rewritten.`,
      place,
    );
  }
}

/** What a row claims beside the text that was signed. */
function differs(stored: StoredHead, head: AuditHead, installation: string | null): string | null {
  if (head.epoch !== stored.epoch || head.size !== stored.size) return 'its text states another epoch or size';
  if (installation !== null && head.installation !== installation) return 'it belongs to another installation';
  const columns = [stored.merkleRoot.toString('hex'), stored.chainHash.toString('hex'), stored.at.toISOString()];
  const signed = [head.rootHex, head.chainHex, head.at.toISOString()];
  return columns.join() === signed.join() ? null : 'its columns differ from the text that was signed';
}
