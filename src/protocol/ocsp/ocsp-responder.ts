import { decideStatus, type OcspSigner, type StatusReader } from '../../lifecycle/status/index.js';
import type { Clock } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import type { Signer } from '../../platform/signer.js';
import { sequence } from '../../x509/der.js';
import { type CertId, type OcspRequest, ocspError, ocspResponseText, readOcspRequest } from '../../x509/ocsp.js';
import { certIdOfPlainRequest, spellingOf } from './cert-id-spellings.js';
import { type OcspReply, uncachedReply } from './ocsp-reply.js';
import { ReplyCache } from './reply-cache.js';
import type { AnsweringIssuer, ResponderDirectory } from './responder-directory.js';
import { type AnswerSigner, makeAnswerSigner, type SignedAnswer } from './sign-answer.js';
import { TokenBucket } from './token-bucket.js';
import { answerOf, lifeSecondsOf, type Verdict } from './verdict.js';

export interface OcspResponderDeps {
  readonly directory: ResponderDirectory;
  readonly status: StatusReader;
  /** Of the status role's socket. */
  readonly signer: Signer;
  readonly clock: Clock;
  /** nextUpdate − thisUpdate of `good` and `revoked`; default 3,600 s. */
  readonly goodSeconds: number;
  /** Answers that must be signed for one asker alone: nonces, never-issued serials, several questions. Default 300/s. */
  readonly livePerSecond?: number;
  /** Status look-ups under way at once; more are answered tryLater. Default 256. */
  readonly lookupsMax?: number;
  /** Told about failures that somebody should see; at most a few a second. */
  readonly onTrouble?: (error: unknown) => void;
}

export interface OcspResponder {
  /** A plain request answered from memory; undefined when work is needed. One look-up, no parsing. */
  cached(requestDer: Buffer): OcspReply | undefined;
  /** Never throws: what cannot be answered is an unsigned error answer. */
  answer(requestDer: Buffer): Promise<OcspReply>;
  /** Makes some answers anew that are past half their life and say `revoked` or are in use. Call it once a second. */
  refreshAhead(): Promise<void>;
  /** What is kept about a certificate may be wrong from now on. */
  withdraw(certificate: { readonly issuerId: number; readonly serial: Buffer }): void;
  withdrawAll(): void;
  readonly cache: ReplyCache;
}

const MALFORMED = errorReply(1);
const INTERNAL = errorReply(2);
const TRY_LATER = errorReply(3);
const UNAUTHORIZED = errorReply(6);

const BAD_SIGNATURE = 'The token gave an OCSP signature that does not verify; check the token.';
const REFRESH_LOOKS_MAX = 20_000;
const REFRESH_SIGNATURES_MAX = 50;

export function makeOcspResponder(deps: OcspResponderDeps): OcspResponder {
  return new Responder(deps);
}

class Responder implements OcspResponder {
  readonly cache: ReplyCache;
  private readonly live: TokenBucket;
  private readonly signAnswer: AnswerSigner;
  private readonly flights = new Map<string, Promise<OcspReply>>();
  private lookups = 0;

  constructor(private readonly deps: OcspResponderDeps) {
    this.cache = new ReplyCache({
      onBadSignature: () => deps.onTrouble?.(new FemtoError('HSM_UNAVAILABLE', BAD_SIGNATURE)),
    });
    this.signAnswer = makeAnswerSigner(deps.signer);
    const perSecond = deps.livePerSecond ?? 300;
    this.live = new TokenBucket(perSecond, perSecond * 2, deps.clock.now().getTime());
  }

  cached(requestDer: Buffer): OcspReply | undefined {
    const certIdDer = certIdOfPlainRequest(requestDer);
    if (certIdDer === undefined) return undefined;
    const nowMs = this.nowMs();
    const reply = this.cache.get(certIdDer, nowMs);
    // Stale ones take the longer way, which gives out the old answer and makes a new one meanwhile.
    return reply !== undefined && nowMs < reply.refreshAtMs ? reply : undefined;
  }

  async answer(requestDer: Buffer): Promise<OcspReply> {
    let request: OcspRequest;
    try {
      request = readOcspRequest(requestDer);
    } catch (error) {
      if (error instanceof FemtoError) return MALFORMED;
      this.deps.onTrouble?.(error);
      return INTERNAL;
    }
    try {
      return await this.answerRequest(request);
    } catch (error) {
      this.deps.onTrouble?.(error);
      // Whatever is wrong with us, the client may ask again; nothing is said about the certificate.
      return TRY_LATER;
    }
  }

  async refreshAhead(): Promise<void> {
    const due = this.cache.dueForRefresh(this.nowMs(), REFRESH_LOOKS_MAX, REFRESH_SIGNATURES_MAX);
    await Promise.all(
      due.map(async (certIdDer) => {
        const [certId] = readOcspRequest(sequence(sequence(sequence(sequence(certIdDer))))).certIds;
        const issuer = certId && this.deps.directory.issuerOf(certId);
        const key = certIdDer.toString('latin1');
        if (issuer && !this.flights.has(key)) await this.makeOnce(issuer, certId, key);
      }),
    );
  }

  withdraw({ issuerId, serial }: { readonly issuerId: number; readonly serial: Buffer }): void {
    const spellings = this.deps.directory.spellingsOf(issuerId);
    // Of a CA that is not known nothing was stored, unless it was known before.
    if (spellings === undefined) this.cache.withdrawAll();
    else this.cache.withdraw(spellings, serial);
  }

  withdrawAll(): void {
    this.cache.withdrawAll();
  }

  private async answerRequest({ certIds, nonce }: OcspRequest): Promise<OcspReply> {
    const { directory } = this.deps;
    const [first] = certIds;
    if (first && !directory.issuerOf(first)) await directory.refreshForUnknown();
    const issuer = first && directory.issuerOf(first);
    // One answer has one signer, and a signer speaks for one CA only.
    if (!first || !issuer || certIds.some((certId) => directory.issuerOf(certId)?.issuer.id !== issuer.issuer.id)) {
      return UNAUTHORIZED;
    }
    const isLive = nonce !== undefined || certIds.length > 1;
    if (isLive && this.live.take(this.nowMs())) return this.signLive(issuer, certIds, nonce);
    if (certIds.length > 1) return TRY_LATER;
    // Out of budget for nonces: RFC 9654 section 2.1 lets a responder answer without, and cached answers go on.
    return this.shared(issuer, first);
  }

  /** From the cache, or made once for everybody who is asking now. */
  private async shared(issuer: AnsweringIssuer, certId: CertId): Promise<OcspReply> {
    const key = certId.certIdDer.toString('latin1');
    const held = this.cache.get(certId.certIdDer, this.nowMs());
    if (held !== undefined && this.nowMs() < held.refreshAtMs) return held;
    const flying = this.flights.get(key);
    if (held === undefined) return flying ?? this.makeOnce(issuer, certId, key);
    // The old answer is right until it is withdrawn or ends; a slow database or token must not be felt here.
    if (!flying) this.makeOnce(issuer, certId, key).catch((error: unknown) => this.deps.onTrouble?.(error));
    return held;
  }

  private makeOnce(issuer: AnsweringIssuer, certId: CertId, key: string): Promise<OcspReply> {
    const flight = this.make(issuer, certId).finally(() => this.flights.delete(key));
    this.flights.set(key, flight);
    return flight;
  }

  private async make(issuer: AnsweringIssuer, certId: CertId): Promise<OcspReply> {
    const { era } = this.cache;
    const responder = this.responderOf(issuer);
    const verdict = await this.look(issuer, certId, responder);
    if (verdict.status.kind === 'unsure') return TRY_LATER;
    const isNeverIssued = verdict.status.kind === 'never-issued';
    if (isNeverIssued && !this.live.take(this.nowMs())) return TRY_LATER;
    const producedAt = this.deps.clock.now();
    const answer = answerOf(certId, verdict);
    const signed = await this.sign(responder, producedAt, [certId], [verdict], undefined);
    // A spelling that a withdrawal would not think of is answered and not kept.
    const spelling = spellingOf(certId.certIdDer);
    const spellings = this.deps.directory.spellingsOf(issuer.issuer.id);
    const isKept = spelling !== undefined && spellings?.includes(spelling) === true;
    if (isNeverIssued || !isKept || answer === undefined) return uncachedReply(textOf(responder, signed));
    return this.cache.store({ responder, answer, producedAt, signature: signed.signature }, era);
  }

  private async signLive(
    issuer: AnsweringIssuer,
    certIds: readonly CertId[],
    nonce: Buffer | undefined,
  ): Promise<OcspReply> {
    try {
      const responder = this.responderOf(issuer);
      const verdicts = await Promise.all(certIds.map((certId) => this.look(issuer, certId, responder)));
      if (verdicts.some(({ status }) => status.kind === 'unsure')) return this.heldFor(certIds) ?? TRY_LATER;
      const signed = await this.sign(responder, this.deps.clock.now(), certIds, verdicts, nonce);
      return uncachedReply(textOf(responder, signed));
    } catch (error) {
      const held = this.heldFor(certIds);
      if (!held) throw error;
      this.deps.onTrouble?.(error);
      return held;
    }
  }

  /** State too old, or a token that is away: what was signed before is given out until its nextUpdate, without the nonce. */
  private heldFor([certId, ...others]: readonly CertId[]): OcspReply | undefined {
    if (!certId || others.length > 0) return undefined;
    return this.cache.get(certId.certIdDer, this.nowMs());
  }

  private responderOf(issuer: AnsweringIssuer): OcspSigner {
    const responder = this.deps.directory.signerOf(issuer);
    if (responder) return responder;
    throw new FemtoError(
      'HSM_UNAVAILABLE',
      `${issuer.issuer.label} has no valid OCSP signer; let the rotation worker certify one.`,
    );
  }

  private async look(issuer: AnsweringIssuer, certId: CertId, responder: OcspSigner): Promise<Verdict> {
    if (this.lookups >= (this.deps.lookupsMax ?? 256))
      throw new FemtoError('RATE_LIMITED', 'Too many status look-ups at once.');
    this.lookups += 1;
    try {
      const { serial } = certId;
      const facts = await this.deps.status.read({ issuerId: issuer.issuer.id, issuerKind: issuer.issuer.kind, serial });
      const now = this.deps.clock.now();
      const heard = facts.heartbeatAt !== null && facts.heartbeatAt < now ? facts.heartbeatAt : now;
      const thisUpdate = new Date(Math.floor(heard.getTime() / 1_000) * 1_000);
      // Responders and what the ceremony made are recorded with the CA, not among the leaves.
      const isOwn = issuer.ownSerials.has(serial.toString('hex'));
      const status = decideStatus(isOwn ? { ...facts, isIssued: true } : facts, serial, now);
      const wanted = thisUpdate.getTime() + lifeSecondsOf(status, this.deps.goodSeconds) * 1_000;
      // Nobody can check an answer after its signer has ended.
      return { status, thisUpdate, nextUpdate: new Date(Math.min(wanted, responder.notAfter.getTime())) };
    } finally {
      this.lookups -= 1;
    }
  }

  private sign(
    responder: OcspSigner,
    producedAt: Date,
    certIds: readonly CertId[],
    verdicts: readonly Verdict[],
    nonce: Buffer | undefined,
  ): Promise<SignedAnswer> {
    return this.signAnswer({
      responder,
      answers: certIds.flatMap((certId, index) => answerOf(certId, verdicts[index]) ?? []),
      serialHex: certIds[0]?.serial.toString('hex') ?? '',
      producedAt,
      ...(nonce !== undefined && { nonce }),
      extendedRevoke: verdicts.some(({ status }) => status.kind === 'never-issued'),
    });
  }

  private nowMs(): number {
    return this.deps.clock.now().getTime();
  }
}

function errorReply(status: 1 | 2 | 3 | 6): OcspReply {
  return uncachedReply(ocspError(status).toString('latin1'));
}

function textOf({ algorithm: alg, certificateDer }: OcspSigner, signed: SignedAnswer): string {
  return ocspResponseText({ ...signed, alg, certs: [certificateDer] });
}
