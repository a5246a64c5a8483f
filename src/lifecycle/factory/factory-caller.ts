import { createHash } from 'node:crypto';
import { decodeProtectedHeader, jwtVerify } from 'jose';
import { FemtoError } from '../../platform/errors.js';
import { rememberedCertificate } from '../../x509/remembered-certificate.js';
import { importPublicKey, readSpki } from '../../x509/spki.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryCaller } from './factory-office.js';

const TOKEN_CHARACTERS_MAX = 2_048;
const TOKEN_LIFE_SECONDS_MAX = 300;
const CLOCK_TOLERANCE_SECONDS = 60;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$/;
const TOKEN_ID = /^[A-Za-z0-9_-]{16,64}$/;

/** Role = the exact issuing key plus the approved row (rules 1.2). Neither name nor EKU is asked. */
export async function stationCaller(
  deps: FactoryDeps,
  { certificateDer }: { certificateDer: Buffer },
): Promise<FactoryCaller> {
  // A station sends one request after another over its connection.
  const certificate = rememberedCertificate(certificateDer);
  const issuer = await deps.issuers.bySpkiOrSignature(certificate);
  if (issuer?.kind !== 'services-ca') {
    throw new FemtoError(
      'UNKNOWN_ISSUER',
      'The client certificate is not from the Services CA; use the station’s own.',
    );
  }
  const now = deps.clock.now();
  if (now < certificate.notBefore)
    throw new FemtoError('CERT_NOT_YET_VALID', 'The station’s certificate is not valid yet.');
  if (now > certificate.notAfter)
    throw new FemtoError('CERT_EXPIRED', 'The station’s certificate has expired; renew it.');
  // The row outlives a certificate: a stolen station is revoked by serial, and its key with it.
  const [standing, machine] = await Promise.all([
    deps.certificates.status(deps.transactor.read, { issuerId: issuer.id, serial: certificate.serial }),
    deps.machines.bySpkiHash(certificate.spki.spkiHash),
  ]);
  if (standing !== 'good') {
    throw new FemtoError('CERT_REVOKED', 'The station’s certificate is revoked; ask the operator for a new station.');
  }
  if (machine?.kind !== 'station' || machine.makerId === null) {
    throw new FemtoError('UNREGISTERED', 'No approved station holds this key; ask the operator to add it.');
  }
  return {
    actor: `machine:${machine.name}`,
    makerId: machine.makerId,
    spkiHash: machine.spkiHash,
    credentialName: null,
  };
}

/**
 * A token proves its key for one request: signed for one credential and batch, short, spent in PostgreSQL. Every failure
 * has the same words, because the caller has proved nothing.
 *
 * @see RFC 7519 section 4.1; RFC 8725 section 3.1
 */
export async function tokenCaller(deps: FactoryDeps, token: string): Promise<FactoryCaller> {
  const name = credentialHint(token);
  const credential = name === null ? null : await deps.credentials.find(deps.transactor.read, { name });
  if (credential?.tokenSpkiDer == null) throw notProved();
  const now = deps.clock.now();
  const claims = await verifiedClaims(token, credential.tokenSpkiDer, now);
  const { cred, batch, iat = 0, exp = 0, jti = '' } = claims;
  const batchRow = await deps.makers.batch(deps.transactor.read, { id: credential.batchId });
  const saysSame = cred === credential.name && (batch === batchRow?.name || batch === credential.batchId);
  if (!saysSame || exp - iat > TOKEN_LIFE_SECONDS_MAX || !TOKEN_ID.test(jti)) throw notProved();
  const hash = createHash('sha256').update(`factory-token\n${credential.id}\n${jti}`).digest();
  const expiresAt = new Date((exp + 2 * CLOCK_TOLERANCE_SECONDS) * 1_000);
  if (!(await deps.transactor.run((tx) => deps.guard.spendOnce(tx, hash, expiresAt)))) throw notProved();
  return {
    actor: `credential:${credential.name}`,
    makerId: credential.makerId,
    spkiHash: credential.spkiHash,
    credentialName: credential.name,
  };
}

interface TokenClaims {
  readonly cred?: unknown;
  readonly batch?: unknown;
  readonly iat?: number;
  readonly exp?: number;
  readonly jti?: string;
}

async function verifiedClaims(token: string, spkiDer: Buffer, now: Date): Promise<TokenClaims> {
  try {
    const { payload } = await jwtVerify(token, importPublicKey(readSpki(spkiDer)), {
      algorithms: ['ES256'],
      requiredClaims: ['cred', 'batch', 'iat', 'exp', 'jti'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      maxTokenAge: TOKEN_LIFE_SECONDS_MAX,
      currentDate: now,
    });
    return payload as TokenClaims;
  } catch (cause) {
    throw notProved(cause);
  }
}

/** Which credential's key to try; the verified claims must name the same. */
function credentialHint(token: string): string | null {
  if (token.length > TOKEN_CHARACTERS_MAX) return null;
  try {
    if (decodeProtectedHeader(token).alg !== 'ES256') return null;
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'));
    const name = (claims as { cred?: unknown } | null)?.cred;
    return typeof name === 'string' && NAME.test(name) ? name : null;
  } catch {
    // Whatever it is, it is no token of ours; the caller says so in one sentence.
    return null;
  }
}

function notProved(cause?: unknown): FemtoError {
  return new FemtoError(
    'DENIED',
    'The token is not a fresh ES256 token of a factory credential; make a new one for each request.',
    cause === undefined ? {} : { cause },
  );
}
