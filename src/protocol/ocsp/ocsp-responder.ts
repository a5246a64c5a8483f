import { createHash } from 'node:crypto';
import {
  type CertificateStatus,
  decideStatus,
  type OcspSigner,
  type StatusReader,
  statusKey,
} from '../../lifecycle/status/index.js';
import type { Clock } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import type { Signer } from '../../platform/signer.js';
import { type CertId, type OcspAnswer, type OcspRequest, ocspError, readOcspRequest } from '../../x509/ocsp.js';
import { type OcspReply, ReplyCache } from './reply-cache.js';
import type { AnsweringIssuer, ResponderDirectory } from './responder-directory.js';
import { signAnswer } from './sign-answer.js';
import { TokenBucket } from './token-bucket.js';

export interface OcspResponderDeps {
  readonly directory: ResponderDirectory;
  readonly status: StatusReader;
  /** Of the status role's socket. */
  readonly signer: Signer;
  readonly clock: Clock;
  readonly cache?: ReplyCache;
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
  /** Answered from memory; undefined when work is needed. Never does more than one look-up. */
  cached(requestKey: string): OcspReply | undefined;
  /** Never throws: what cannot be answered is an unsigned error answer. */
  answer(requestDer: Buffer, requestKey: string): Promise<OcspReply>;
  readonly cache: ReplyCache;
}

const CONTENT_TYPE = 'application/ocsp-response';

const MALFORMED = errorReply(1);
const INTERNAL = errorReply(2);
const TRY_LATER = errorReply(3);
const UNAUTHORIZED = errorReply(6);

/** A hold may end at any time; a client that keeps it longer than this keeps a unit out. */
const HELD_SECONDS_MAX = 600;
const NEVER_ISSUED_SECONDS = 120;
const NEVER_ISSUED_AT = new Date(0);
const CERTIFICATE_HOLD = 6;

export function makeOcspResponder(deps: OcspResponderDeps): OcspResponder {
  return new Responder(deps);
}

/** The words of one answer before it is signed. */
interface Verdict {
  readonly status: CertificateStatus;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}

class Responder implements OcspResponder {
  readonly cache: ReplyCache;
  private readonly live: TokenBucket;
  private readonly flights = new Map<string, Promise<OcspReply>>();
  private lookups = 0;

  constructor(private readonly deps: OcspResponderDeps) {
    this.cache = deps.cache ?? new ReplyCache();
    const perSecond = deps.livePerSecond ?? 300;
    this.live = new TokenBucket(perSecond, perSecond * 2, deps.clock.now().getTime());
  }

  cached(requestKey: string): OcspReply | undefined {
    const nowMs = this.deps.clock.now().getTime();
    const reply = this.cache.forRequest(requestKey, nowMs);
    // Stale ones take the longer way, which gives out the old answer and makes a new one meanwhile.
    return reply !== undefined && nowMs < reply.refreshAtMs ? reply : undefined;
  }

  async answer(requestDer: Buffer, requestKey: string): Promise<OcspReply> {
    let request: OcspRequest;
    try {
      request = readOcspRequest(requestDer);
    } catch (error) {
      if (error instanceof FemtoError) return MALFORMED;
      this.deps.onTrouble?.(error);
      return INTERNAL;
    }
    try {
      return await this.answerRequest(request, requestKey);
    } catch (error) {
      this.deps.onTrouble?.(error);
      // Whatever is wrong with us, the client may ask again; nothing is said about the certificate.
      return TRY_LATER;
    }
  }

  private async answerRequest({ certIds, nonce }: OcspRequest, requestKey: string): Promise<OcspReply> {
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
    const reply = await this.shared(issuer, first);
    if (nonce === undefined) this.cache.remember(requestKey, reply);
    return reply;
  }

  /** From the cache, or made once for everybody who is asking now. */
  private async shared(issuer: AnsweringIssuer, certId: CertId): Promise<OcspReply> {
    const certificateKey = statusKey({ issuerId: issuer.issuer.id, serial: certId.serial });
    const certIdKey = certId.certIdDer.toString('latin1');
    const held = this.cache.forCertificate(certificateKey, certIdKey, this.nowMs());
    if (held !== undefined && this.nowMs() < held.refreshAtMs) return held;
    const flying = this.flights.get(certIdKey);
    if (flying && !held) return flying;
    if (!flying) {
      const flight = this.make(issuer, certId, certificateKey, certIdKey).finally(() => this.flights.delete(certIdKey));
      this.flights.set(certIdKey, flight);
      if (!held) return flight;
      // The old answer is right until it is withdrawn or ends; a slow database or token must not be felt here.
      flight.catch((error: unknown) => this.deps.onTrouble?.(error));
    }
    return held ?? TRY_LATER;
  }

  private async make(
    issuer: AnsweringIssuer,
    certId: CertId,
    certificateKey: string,
    certIdKey: string,
  ): Promise<OcspReply> {
    const { era } = this.cache;
    const responder = this.responderOf(issuer);
    const verdict = await this.look(issuer, certId, responder);
    if (verdict.status.kind === 'unsure') return TRY_LATER;
    const isNeverIssued = verdict.status.kind === 'never-issued';
    if (isNeverIssued && !this.live.take(this.nowMs())) return TRY_LATER;
    const body = await this.sign(responder, [certId], [verdict], undefined);
    if (isNeverIssued) return liveReply(body);
    const reply = sharedReply(body, verdict, this.nowMs());
    this.cache.store(certificateKey, certIdKey, reply, era);
    return reply;
  }

  private async signLive(
    issuer: AnsweringIssuer,
    certIds: readonly CertId[],
    nonce: Buffer | undefined,
  ): Promise<OcspReply> {
    try {
      const responder = this.responderOf(issuer);
      const verdicts = await Promise.all(certIds.map((certId) => this.look(issuer, certId, responder)));
      if (verdicts.some(({ status }) => status.kind === 'unsure')) return this.heldFor(issuer, certIds) ?? TRY_LATER;
      return liveReply(await this.sign(responder, certIds, verdicts, nonce));
    } catch (error) {
      const held = this.heldFor(issuer, certIds);
      if (!held) throw error;
      this.deps.onTrouble?.(error);
      return held;
    }
  }

  /** State too old, or a token that is away: what was signed before is given out until its nextUpdate, without the nonce. */
  private heldFor(issuer: AnsweringIssuer, [certId, ...others]: readonly CertId[]): OcspReply | undefined {
    if (!certId || others.length > 0) return undefined;
    const certificateKey = statusKey({ issuerId: issuer.issuer.id, serial: certId.serial });
    return this.cache.forCertificate(certificateKey, certId.certIdDer.toString('latin1'), this.nowMs());
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
      const wanted = thisUpdate.getTime() + secondsFor(status, this.deps.goodSeconds) * 1_000;
      // Nobody can check an answer after its signer has ended.
      return { status, thisUpdate, nextUpdate: new Date(Math.min(wanted, responder.notAfter.getTime())) };
    } finally {
      this.lookups -= 1;
    }
  }

  private sign(
    responder: OcspSigner,
    certIds: readonly CertId[],
    verdicts: readonly Verdict[],
    nonce: Buffer | undefined,
  ): Promise<Buffer> {
    const answers = certIds.flatMap((certId, index) => answerOf(certId, verdicts[index]) ?? []);
    return signAnswer(this.deps.signer, {
      responder,
      answers,
      serialHex: certIds[0]?.serial.toString('hex') ?? '',
      producedAt: this.deps.clock.now(),
      ...(nonce !== undefined && { nonce }),
      extendedRevoke: verdicts.some(({ status }) => status.kind === 'never-issued'),
    });
  }

  private nowMs(): number {
    return this.deps.clock.now().getTime();
  }
}

function secondsFor(status: CertificateStatus, goodSeconds: number): number {
  switch (status.kind) {
    case 'good':
      return goodSeconds;
    case 'revoked':
      return Math.min(goodSeconds, status.isHeld ? HELD_SECONDS_MAX : 3_600);
    case 'never-issued':
    case 'unsure':
      return NEVER_ISSUED_SECONDS;
  }
}

function answerOf(certId: CertId, verdict: Verdict | undefined): OcspAnswer | undefined {
  if (!verdict) return undefined;
  const { status, thisUpdate, nextUpdate } = verdict;
  const base = { certIdDer: certId.certIdDer, thisUpdate, nextUpdate };
  switch (status.kind) {
    case 'good':
      return { ...base, status: { kind: 'good' } };
    case 'revoked':
      return { ...base, status: { kind: 'revoked', at: status.at, reason: status.reason } };
    case 'never-issued':
      return { ...base, status: { kind: 'revoked', at: NEVER_ISSUED_AT, reason: CERTIFICATE_HOLD } };
    case 'unsure':
      return undefined;
  }
}

/**
 * max-age 5 s whatever nextUpdate says, and no Expires: an HTTP/1.0 cache would keep a `good` for its whole hour, and a
 * revocation must be seen within seconds (rules 6.3). The ETag makes the question again cheap.
 */
function sharedReply(body: Buffer, { thisUpdate, nextUpdate }: Verdict, nowMs: number): OcspReply {
  const etag = `"${createHash('sha256').update(body).digest('hex').slice(0, 32)}"`;
  const endsAtMs = nextUpdate.getTime();
  return {
    body,
    headers: [
      'Content-Type',
      CONTENT_TYPE,
      'Content-Length',
      String(body.length),
      'Cache-Control',
      'max-age=5, public, no-transform, must-revalidate',
      'ETag',
      etag,
      'Last-Modified',
      thisUpdate.toUTCString(),
    ],
    etag,
    refreshAtMs: nowMs + Math.max(0, endsAtMs - nowMs) / 2,
    endsAtMs,
    isDead: false,
  };
}

function liveReply(body: Buffer): OcspReply {
  const headers = ['Content-Type', CONTENT_TYPE, 'Content-Length', String(body.length), 'Cache-Control', 'no-store'];
  return { body, headers, etag: undefined, refreshAtMs: 0, endsAtMs: 0, isDead: false };
}

function errorReply(status: 1 | 2 | 3 | 6): OcspReply {
  return liveReply(ocspError(status));
}
