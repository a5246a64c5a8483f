/**
 * The signer's judgement: socket role, purpose, key, then the TBS itself. Nothing in a request, and nothing in the
 * database, can widen what signer.yaml allows.
 */

import type { CrlPart } from '../../x509/crl-part.js';
import { FemtoError } from '../errors.js';
import type { SignerRole, SignRequest, SignResult } from '../signer.js';
import type { BarredKeys } from './barred-keys.js';
import type { NewestCrl, NewestCrlReader } from './crl-memory.js';
import type { SignedPart } from './crl-parts.js';
import type { Hierarchy } from './hierarchy.js';
import { entryOf, type KeyFacts, keyFacts, type OcspIssuerHashes, ocspIssuerHashes } from './issuer-facts.js';
import { type CrlConsequence, judgeCrl } from './judge-crl.js';
import { judgeHead, type LastHead } from './judge-head.js';
import { judgeLeaf } from './judge-leaf.js';
import { judgeOcsp } from './judge-ocsp.js';
import { CLASS_OF_PURPOSE, type KeyClass, mayAsk } from './key-class.js';
import { deny, Refusal } from './refusal.js';
import type { SignerConfig } from './signer-config.js';
import type { TokenKey } from './token.js';

/** What to make durable after the signature and before the answer. */
export interface Consequence {
  readonly crl?: CrlConsequence;
  readonly head?: LastHead;
}

export type Verdict =
  | { readonly ok: true; readonly key: KeyFacts; readonly consequence: Consequence }
  | (SignResult & { ok: false });

const LEAF_PURPOSES = ['operational', 'bootstrap', 'services', 'preissue', 'ocsp-signer'] as const;

/** What a retired CA does not sign; what its certificates need to their end it goes on signing. */
const BARRED_PURPOSES: ReadonlySet<SignRequest['purpose']> = new Set([
  'operational',
  'bootstrap',
  'services',
  'preissue',
]);

/** Labels a class must find in its token. The `ca` class also reads the OCSP keys that it certifies. */
export function labelsOfClass(config: SignerConfig, keyClass: KeyClass): string[] {
  const { purposes } = config;
  if (keyClass === 'ocsp') return Object.keys(purposes.ocsp.keys);
  if (keyClass === 'audit') return purposes['audit-head'].keys;
  const caLabels = [...LEAF_PURPOSES.flatMap((purpose) => purposes[purpose].keys), ...purposes.crl.keys];
  return [...new Set([...caLabels, ...Object.keys(purposes.ocsp.keys)])];
}

export interface JudgeDeps {
  readonly config: SignerConfig;
  readonly hierarchy: Hierarchy;
  readonly keyClass: KeyClass;
  readonly now: () => number;
  readonly crls: NewestCrlReader;
  /** Deltas and shards of a CA that were signed last. */
  readonly signedParts: (issuerLabel: string) => ReadonlyMap<string, SignedPart>;
  readonly lastHead: () => LastHead | undefined;
  /** Keys of retired CAs: they sign CRLs and OCSP signers to the end, and no certificate. */
  readonly barred: BarredKeys;
}

export class Judge {
  private readonly facts = new Map<string, KeyFacts>();
  private readonly issuerHashes = new Map<string, OcspIssuerHashes>();
  private readonly judgedCrls = new Map<string, NewestCrl>();
  /** By CA and part. */
  private readonly judgedParts = new Map<string, SignedPart>();
  /** Looked up once a batch: an OCSP answer alone costs less than asking the file system for its CRL's file. */
  private newestCrls = new Map<string, NewestCrl | undefined>();
  private tokenSpkis: ReadonlySet<string> = new Set();

  constructor(private readonly deps: JudgeDeps) {}

  /**
   * Takes the keys as the token has them.
   * @throws KeyRefusal where token and hierarchy disagree
   */
  learn(keys: ReadonlyMap<string, TokenKey>): void {
    for (const [label, key] of keys) this.facts.set(label, keyFacts(entryOf(this.deps.hierarchy, label), key));
    this.tokenSpkis = new Set([...keys.values()].map(({ spki }) => spki.toString('latin1')));
    for (const issuerLabel of Object.values(this.deps.config.purposes.ocsp.keys)) {
      this.issuerHashes.set(issuerLabel, ocspIssuerHashes(entryOf(this.deps.hierarchy, issuerLabel)));
    }
  }

  /** What is judged from now on is judged by the CRLs of now. */
  startBatch(): void {
    this.newestCrls.clear();
    if (this.deps.keyClass === 'ca') this.deps.barred.look();
  }

  judge(request: SignRequest, role: SignerRole): Verdict {
    try {
      return this.judged(request, role);
    } catch (thrown) {
      if (thrown instanceof Refusal) return { ok: false, code: thrown.code, message: thrown.message };
      if (thrown instanceof FemtoError) return { ok: false, code: 'BAD_REQUEST', message: thrown.message };
      throw thrown;
    }
  }

  private judged(request: SignRequest, role: SignerRole): Verdict {
    const { config, keyClass } = this.deps;
    const { purpose, keyLabel, name } = request;
    if (!mayAsk(role, purpose)) deny(`The role ${role} may not ask for ${purpose}.`);
    if (CLASS_OF_PURPOSE[purpose] !== keyClass) deny(`${purpose} is not signed by the ${keyClass} process.`);
    // The name becomes a field of a journal line.
    if (!/^[\x21-\x7e]{1,200}$/.test(name))
      throw new Refusal('BAD_REQUEST', 'The name has spaces, controls or too many characters.');
    const { keys } = config.purposes[purpose];
    const allowed = Array.isArray(keys) ? keys.includes(keyLabel) : Object.hasOwn(keys, keyLabel);
    // Roots are in no list and in no token of this process.
    if (!allowed) deny(`The key "${keyLabel}" does not sign ${purpose}.`);
    if (BARRED_PURPOSES.has(purpose) && this.deps.barred.has(keyLabel)) {
      throw new Refusal('UNKNOWN_ISSUER', `The CA of the key "${keyLabel}" is retired; it signs no certificate.`);
    }
    const key = this.facts.get(keyLabel) ?? deny(`The key "${keyLabel}" is not in this token.`);
    return { ok: true, key, consequence: this.judgeContent(request, key) };
  }

  private judgeContent(request: SignRequest, key: KeyFacts): Consequence {
    const { config, now, lastHead } = this.deps;
    const nowMs = now();
    const skewMs = config.clockSkewSeconds * 1_000;
    switch (request.purpose) {
      case 'crl':
        return { crl: this.judgeCrl(request, { issuer: key, skewMs, nowMs }) };
      case 'ocsp': {
        const { keys, lifeSecondsMax } = config.purposes.ocsp;
        const issuerLabel = keys[request.keyLabel] ?? deny('The OCSP key serves no CA.');
        const issuer = this.issuerHashes.get(issuerLabel) ?? deny('The CA of the OCSP key is not known.');
        const newestCrl = () => this.newestCrl(issuerLabel);
        judgeOcsp(request, { responder: key, issuer, lifeSecondsMax, skewMs, nowMs, newestCrl });
        return {};
      }
      case 'audit-head': {
        const { epochMax } = config.purposes['audit-head'];
        const { installation } = config;
        return { head: judgeHead(request, { installation, epochMax, last: lastHead(), nowMs, skewMs }) };
      }
      default: {
        const rule = config.purposes[request.purpose];
        judgeLeaf(request, {
          config,
          rule,
          issuer: key,
          predecessorIssuers: () => rule.keys.flatMap((label) => this.facts.get(label) ?? []),
          nowMs,
          tokenSpkis: this.tokenSpkis,
          ocspSpki: () => this.ocspKeyOf(request.keyLabel),
        });
        return {};
      }
    }
  }

  private judgeCrl(request: SignRequest, by: { issuer: KeyFacts; skewMs: number; nowMs: number }): CrlConsequence {
    const { config, crls, signedParts } = this.deps;
    const { keyLabel } = request;
    const { lifeSecondsMax } = config.purposes.crl;
    const newest = this.judgedCrls.get(keyLabel) ?? crls.newest(keyLabel);
    const signed = (): NewestCrl | undefined => crls.newest(keyLabel);
    const partKey = (part: CrlPart): string => `${keyLabel} ${part}`;
    const lastPart = (part: CrlPart): SignedPart | undefined =>
      this.judgedParts.get(partKey(part)) ?? signedParts(keyLabel).get(part);
    const judged = judgeCrl(request, { ...by, lifeSecondsMax, newest, signed, lastPart });
    if (judged.kind === 'part') this.judgedParts.set(partKey(judged.part), judged.signed);
    else this.judgedCrls.set(keyLabel, { ...judged.crl, serials: Buffer.alloc(0) });
    return judged;
  }

  private newestCrl(issuerLabel: string): NewestCrl | undefined {
    const known = this.newestCrls.get(issuerLabel);
    if (known || this.newestCrls.has(issuerLabel)) return known;
    const crl = this.deps.crls.newest(issuerLabel);
    this.newestCrls.set(issuerLabel, crl);
    return crl;
  }

  private ocspKeyOf(issuerLabel: string): Buffer | undefined {
    const keys = Object.entries(this.deps.config.purposes.ocsp.keys);
    const label = keys.find(([, issuer]) => issuer === issuerLabel)?.[0];
    return label === undefined ? undefined : this.facts.get(label)?.spki.spkiDer;
  }
}
