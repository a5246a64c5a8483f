/** TBS builders for signer tests: what an honest server would send, with one thing changed. */
import { generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import type { HierarchyEntry } from '../../src/platform/hsm/hierarchy.js';
import type { SignPurpose, SignRequest } from '../../src/platform/signer.js';
import { certificateTemplate } from '../../src/x509/certificate-template.js';
import { buildCrlTbs, crlEntry } from '../../src/x509/crl.js';
import { buildResponseData, certIdOf, type OcspStatus, ocspIssuerHashes, ocspKeyHash } from '../../src/x509/ocsp.js';
import { notAfterOf, PROFILES, type ProfileName } from '../../src/x509/profiles.js';
import { newSerial } from '../../src/x509/serial.js';
import { readSpki } from '../../src/x509/spki.js';

const DAY_SECONDS = 86_400;
const HOUR_MS = 3_600_000;

export interface LeafWish {
  readonly issuer: HierarchyEntry;
  readonly profile?: ProfileName;
  readonly purpose?: SignPurpose;
  readonly keyLabel?: string;
  readonly commonName?: string;
  readonly lifeSeconds?: number;
  readonly notBefore?: Date;
  readonly publicKey?: KeyObject;
  readonly serial?: Buffer;
  readonly now?: Date;
  readonly nameConstraintDns?: string;
}

export function leafRequest(wish: LeafWish): SignRequest {
  const now = wish.now ?? new Date();
  const profile = PROFILES[wish.profile ?? 'operational'];
  const { issuer } = wish;
  const serial = wish.serial ?? newSerial(now, randomBytes);
  const commonName = wish.commonName ?? `02${randomBytes(5).toString('hex')}.femto.hanbit.example`;
  const publicKey = wish.publicKey ?? generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey;
  const notBefore = wish.notBefore ?? new Date(now.getTime() - HOUR_MS);
  const template = certificateTemplate({
    profile,
    issuerSubjectDer: Buffer.from(issuer.subjectDerHex, 'hex'),
    issuerKeyIdentifier: Buffer.from(issuer.keyIdentifierHex, 'hex'),
    issuerSignature: issuer.kind.startsWith('root') ? 'ecdsa-with-SHA384' : 'ecdsa-with-SHA256',
    operator: 'Hanbit Mobile',
    ...(issuer.crlUrl && profile.crlUrl !== 'absent' ? { crlUrl: issuer.crlUrl } : {}),
    ...(issuer.ocspUrl && profile.ocspUrl !== 'absent' ? { ocspUrl: issuer.ocspUrl } : {}),
    ...(issuer.caUrl && profile.caUrl !== 'absent' ? { caUrl: issuer.caUrl } : {}),
    ...(wish.nameConstraintDns === undefined ? {} : { nameConstraintDns: wish.nameConstraintDns }),
  });
  const tbs = template.build({
    serial,
    subject: { commonName },
    ...(profile.san === 'absent' ? {} : { sanDns: commonName }),
    spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
    notBefore,
    notAfter: notAfterOf(notBefore, wish.lifeSeconds ?? 7 * DAY_SECONDS),
  });
  return {
    purpose: wish.purpose ?? 'operational',
    keyLabel: wish.keyLabel ?? issuer.label,
    name: serial.toString('hex'),
    tbs,
  };
}

export interface CrlWish {
  readonly issuer: HierarchyEntry;
  readonly number: bigint;
  /** Each revoked for keyCompromise. */
  readonly serials?: readonly Buffer[];
  /** Ready entries, after those of `serials`. */
  readonly entries?: readonly Buffer[];
  readonly thisUpdate?: Date;
  readonly lifeSeconds?: number;
  readonly deltaBase?: bigint;
  readonly distributionPointUrl?: string;
  readonly freshestCrlUrl?: string;
  /** Makes the name of the request one of a part. */
  readonly part?: string | undefined;
  readonly evidence?: Buffer | undefined;
}

export function crlRequest(wish: CrlWish): SignRequest {
  const { issuer, number, serials = [], thisUpdate = new Date(), lifeSeconds = 21_600 } = wish;
  const { deltaBase, distributionPointUrl, freshestCrlUrl, part, evidence } = wish;
  const tbs = buildCrlTbs({
    issuerSubjectDer: Buffer.from(issuer.subjectDerHex, 'hex'),
    issuerKeyIdentifier: Buffer.from(issuer.keyIdentifierHex, 'hex'),
    alg: 'ecdsa-with-SHA256',
    number,
    thisUpdate,
    nextUpdate: new Date(thisUpdate.getTime() + lifeSeconds * 1_000),
    entries: [
      ...serials.map((serial) => crlEntry({ serial, revokedAt: thisUpdate, reason: 'keyCompromise' })),
      ...(wish.entries ?? []),
    ],
    ...(deltaBase !== undefined && { deltaBase }),
    ...(distributionPointUrl !== undefined && { distributionPointUrl }),
    ...(freshestCrlUrl !== undefined && { freshestCrlUrl }),
  });
  const name = part === undefined ? `crl:${issuer.label}:${number}` : `crl-part:${issuer.label}:${part}:${number}`;
  return { purpose: 'crl', keyLabel: issuer.label, name, tbs, ...(evidence && { evidence }) };
}

export interface OcspWish {
  readonly issuer: HierarchyEntry;
  /** Entry of the OCSP key. */
  readonly responder: HierarchyEntry;
  readonly serial: Buffer;
  readonly status: OcspStatus;
  readonly lifeSeconds?: number;
}

export function ocspRequest({ issuer, responder, serial, status, lifeSeconds = 3_600 }: OcspWish): SignRequest {
  const hashes = ocspIssuerHashes(
    Buffer.from(issuer.subjectDerHex, 'hex'),
    readSpki(Buffer.from(issuer.spkiHex, 'hex')),
  );
  const thisUpdate = new Date(Math.floor(Date.now() / 1_000) * 1_000);
  const tbs = buildResponseData({
    responderKeyHash: ocspKeyHash(readSpki(Buffer.from(responder.spkiHex, 'hex'))),
    producedAt: thisUpdate,
    responses: [
      {
        certIdDer: certIdOf('sha1', hashes.sha1, serial).certIdDer,
        status,
        thisUpdate,
        nextUpdate: new Date(thisUpdate.getTime() + lifeSeconds * 1_000),
      },
    ],
  });
  const name = `ocsp:${serial.toString('hex')}:${thisUpdate.toISOString()}`;
  return { purpose: 'ocsp', keyLabel: responder.label, name, tbs };
}
