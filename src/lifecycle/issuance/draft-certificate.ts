import type { Clock, RandomBytes } from '../../platform/clock.js';
import { type CertificateTemplate, certificateTemplate } from '../../x509/certificate-template.js';
import { type CrlShard, shardOfSerial } from '../../x509/crl-part.js';
import { type LintedTbs, lintTbs } from '../../x509/lint-certificate.js';
import { type CertificateProfile, notAfterOf, PROFILES, type ProfileName } from '../../x509/profiles.js';
import { newSerial } from '../../x509/serial.js';
import type { IssuerSignature } from '../../x509/signature-algorithm.js';
import { readSpki } from '../../x509/spki.js';
import type { Issuer } from '../model/index.js';
import { attemptIdFrom } from './attempt-id.js';
import type { ApprovedRequest } from './issuance.js';
import { type RenewalSpread, renewalWindow } from './renewal-window.js';

/** Where relying parties fetch what belongs to one CA; plain http, because https would need itself (RFC 5280 section 8). */
export interface IssuerUrls {
  readonly crlUrl?: string;
  readonly ocspUrl?: string;
  readonly caUrl?: string;
}

export interface DraftDeps {
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Organization of every subject. */
  readonly operator: string;
  readonly urlsOf: (issuer: Issuer, crlShard: CrlShard | undefined) => IssuerUrls;
  /** Operational certificates name one of so many shards of their CA's CRL, chosen by serial; 0 (default): the whole. */
  readonly crlShards?: number;
  /** When units are advised to renew; default at 2/3 of the remaining life, ± 10 %. */
  readonly renewalSpread?: RenewalSpread;
}

/** A certificate that is decided in every byte but its signature, and has passed the lint. */
export interface Draft {
  readonly request: ApprovedRequest;
  readonly issuer: Issuer;
  readonly issuerSignature: IssuerSignature;
  /** uuid; the one name of this try in intent, slot, key and certificate. */
  readonly attemptId: string;
  readonly serial: Buffer;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** When the unit is advised to renew, and the latest moment its client should. Operational only. */
  readonly renewFrom: Date;
  readonly renewUntil: Date;
  readonly linted: LintedTbs;
}

/** Certificates begin an hour early, so that a unit whose clock is slow can use them; inside the life ceiling. */
export const BACKDATE_SECONDS = 3_600;

/** Builds TBS bytes from one cached template an issuer, profile and CRL shard, and lints them by reading them again. */
export function makeDrafter(deps: DraftDeps): (request: ApprovedRequest, issuer: Issuer) => Draft {
  const cache = new Map<string, CachedTemplate>();
  return (request, issuer) => {
    const now = deps.clock.now();
    // One draw for everything: a system call a certificate is a fifth of building it.
    const random = drawing(deps.random(RANDOM_BYTES));
    const serial = newSerial(now, random);
    const { template, profile, issuerSignature } = cachedTemplate(deps, cache, request, issuer, serial);
    const { notBefore, notAfter } = validity(now, request, issuer, profile);
    const sanDns = request.sanDns === null ? [] : [request.sanDns];
    const tbsDer = template.build({
      serial,
      subject: { commonName: request.commonName },
      sanDns,
      ...(request.sanIp === undefined ? {} : { sanIp: request.sanIp }),
      spki: request.spki,
      notBefore,
      notAfter,
    });
    const linted = lintTbs(tbsDer, profile, {
      issuerNotAfter: issuer.notAfter,
      issuerSubjectDer: issuer.subjectDer,
      issuerKeyIdentifier: issuer.keyIdentifier,
      issuerSignature,
      serial,
      organization: deps.operator,
      commonName: request.commonName,
      sanDns,
      spkiHash: request.spki.spkiHash,
      lifeMaxSeconds: request.lifeSeconds,
    });
    const window = renewalWindow(now, notAfter, random(2).readUInt16BE(0) / 0x10000, deps.renewalSpread);
    return {
      request,
      issuer,
      issuerSignature,
      attemptId: attemptIdFrom(random(16)),
      serial,
      notBefore,
      notAfter,
      ...window,
      linted,
    };
  };
}

/** Serial 11, spread of renewals 2, attempt id 16. */
const RANDOM_BYTES = 29;

/** Hands out a block of random bytes piece by piece, each byte once. */
function drawing(block: Buffer): RandomBytes {
  let used = 0;
  return (length) => {
    used += length;
    return block.subarray(used - length, used);
  };
}

interface CachedTemplate {
  readonly issuer: Issuer;
  readonly template: CertificateTemplate;
  readonly profile: CertificateProfile;
  readonly issuerSignature: IssuerSignature;
}

function cachedTemplate(
  deps: DraftDeps,
  cache: Map<string, CachedTemplate>,
  request: ApprovedRequest,
  issuer: Issuer,
  serial: Buffer,
): CachedTemplate {
  const profile = PROFILES[profileName(request)];
  const count = deps.crlShards ?? 0;
  const index = count > 0 && profile.name === 'operational' ? shardOfSerial(serial, count) : undefined;
  const key = `${issuer.id}:${profile.name}:${index}`;
  const known = cache.get(key);
  // An issuer row read again is another object; its bytes may have changed (a re-signed CA), so the template is rebuilt.
  if (known?.issuer === issuer) return known;
  const issuerSignature = signatureOf(issuer);
  const template = certificateTemplate({
    profile,
    issuerSubjectDer: issuer.subjectDer,
    issuerKeyIdentifier: issuer.keyIdentifier,
    issuerSignature,
    operator: deps.operator,
    ...deps.urlsOf(issuer, index === undefined ? undefined : { count, index }),
  });
  const cached = { issuer, template, profile, issuerSignature };
  cache.set(key, cached);
  return cached;
}

function profileName({ purpose, servicesKind }: ApprovedRequest): ProfileName {
  return purpose === 'services' ? `services-${servicesKind ?? 'server'}` : purpose;
}

function signatureOf(issuer: Issuer): IssuerSignature {
  return readSpki(issuer.spkiDer).algorithm === 'P-384' ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256';
}

/**
 * Backdating lies inside the life asked for, which the lint compares with the profile's ceiling and the signer with its
 * own. A life above the ceiling is not quietly cut: someone must hear of it (KEY-4). Never past the issuer's own end.
 */
function validity(now: Date, request: ApprovedRequest, issuer: Issuer, profile: CertificateProfile) {
  const backdate = Math.min(BACKDATE_SECONDS, Math.max(0, Math.min(request.lifeSeconds, profile.lifeMaxSeconds) - 1));
  const notBefore = new Date(Math.floor(now.getTime() / 1_000) * 1_000 - backdate * 1_000);
  const wanted = notAfterOf(notBefore, request.lifeSeconds);
  return { notBefore, notAfter: new Date(Math.min(wanted.getTime(), issuer.notAfter.getTime())) };
}
