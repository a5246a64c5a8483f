import {
  boolean,
  explicitTag,
  implicitTag,
  integer,
  namedBits,
  nullValue,
  octetString,
  oid,
  sequence,
  TAG,
  tlv,
  x509Time,
} from './der.js';
import { relativeName } from './distinguished-name.js';
import { extension } from './extension.js';
import { KEY_USAGE } from './extension-values.js';
import { crlDistributionPoints, dnsName, ipName, uriName } from './general-name.js';
import { OID } from './oids.js';
import type { CertificateProfile } from './profiles.js';
import { algorithmIdentifier, type IssuerSignature } from './signature-algorithm.js';
import type { Spki } from './spki.js';

export interface TemplateInput {
  readonly profile: CertificateProfile;
  /** The issuer's subject Name, copied byte for byte from its certificate. */
  readonly issuerSubjectDer: Buffer;
  /** The issuer's actual subjectKeyIdentifier, never recomputed. Empty: no AKI (a root). */
  readonly issuerKeyIdentifier: Buffer;
  readonly issuerSignature: IssuerSignature;
  /** Organization of every subject that does not name another. */
  readonly operator: string;
  readonly crlUrl?: string;
  readonly ocspUrl?: string;
  /** Where the issuer's certificate lies (AIA caIssuers). */
  readonly caUrl?: string;
  /** Realm, without leading dot: permitted dNSName subtree of a Device CA. */
  readonly nameConstraintDns?: string;
}

export interface CertificateFacts {
  /** Unsigned magnitude, e.g. newSerial(). */
  readonly serial: Buffer;
  readonly subject: {
    readonly organization?: string;
    readonly organizationalUnit?: string;
    readonly commonName: string;
  };
  readonly sanDns?: string | readonly string[];
  /** IPv4 or IPv6 addresses as 4 or 16 octets; only for profiles with hosts. */
  readonly sanIp?: readonly Buffer[];
  readonly spki: Spki;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

export interface CertificateTemplate {
  /** TBSCertificate DER. Not linted, not signed. */
  build(facts: CertificateFacts): Buffer;
}

/**
 * Precomputes every byte that certificates of one issuer and profile share; `build` then only joins. Extensions in one
 * fixed order: keyUsage, extKeyUsage, basicConstraints, nameConstraints, subjectAltName, subjectKeyIdentifier,
 * authorityKeyIdentifier, cRLDistributionPoints, authorityInfoAccess, ocsp-nocheck.
 *
 * @see RFC 5280 section 4.1
 */
export function certificateTemplate(input: TemplateInput): CertificateTemplate {
  const { profile, operator } = input;
  const algorithmAndIssuer = Buffer.concat([algorithmIdentifier(input.issuerSignature), input.issuerSubjectDer]);
  const operatorName = relativeName(OID.organization, operator);
  const defaultUnit =
    profile.organizationalUnit === undefined ? EMPTY : relativeName(OID.organizationalUnit, profile.organizationalUnit);
  const leading = Buffer.concat(leadingExtensions(input));
  const trailing = Buffer.concat(trailingExtensions(input));

  return {
    build({ serial, subject, sanDns, sanIp, spki, notBefore, notAfter }) {
      const { organization = operator, organizationalUnit, commonName } = subject;
      return sequence(
        VERSION_3,
        integer(serial),
        algorithmAndIssuer,
        sequence(x509Time(notBefore), x509Time(notAfter)),
        sequence(
          organization === operator ? operatorName : relativeName(OID.organization, organization),
          organizationalUnit === undefined ? defaultUnit : relativeName(OID.organizationalUnit, organizationalUnit),
          relativeName(OID.commonName, commonName),
        ),
        spki.spkiDer,
        tlv(0xa3, sequence(leading, subjectAltName(sanDns, sanIp), SKI_HEAD, spki.keyIdentifier, trailing)),
      );
    },
  };
}

const EMPTY = Buffer.alloc(0);
const VERSION_3 = explicitTag(0, integer(2));
// Everything of a subjectKeyIdentifier extension before its 20 octets.
const SKI_HEAD = extension(OID.subjectKeyIdentifier, false, octetString(Buffer.alloc(20))).subarray(0, -20);

function leadingExtensions({ profile, nameConstraintDns }: TemplateInput): Buffer[] {
  const bits = profile.keyUsage.map((usage) => KEY_USAGE.indexOf(usage));
  const extensions = [extension(OID.keyUsage, true, namedBits(bits))];
  if (profile.ekus.length > 0) {
    extensions.push(extension(OID.extendedKeyUsage, false, sequence(...profile.ekus.map(oid))));
  }
  if (profile.ca !== undefined) {
    const pathLen = profile.ca.pathLen === undefined ? EMPTY : integer(profile.ca.pathLen);
    extensions.push(extension(OID.basicConstraints, true, sequence(boolean(true), pathLen)));
  }
  if (nameConstraintDns !== undefined) {
    const permitted = tlv(0xa0, sequence(dnsName(nameConstraintDns)));
    extensions.push(extension(OID.nameConstraints, true, sequence(permitted)));
  }
  return extensions;
}

function trailingExtensions({ profile, issuerKeyIdentifier, crlUrl, ocspUrl, caUrl }: TemplateInput): Buffer[] {
  const extensions: Buffer[] = [];
  if (issuerKeyIdentifier.length > 0) {
    extensions.push(extension(OID.authorityKeyIdentifier, false, sequence(implicitTag(0, issuerKeyIdentifier))));
  }
  if (crlUrl !== undefined) {
    extensions.push(extension(OID.crlDistributionPoints, false, crlDistributionPoints(crlUrl)));
  }
  const access: Buffer[] = [];
  if (ocspUrl !== undefined) access.push(sequence(oid(OID.adOcsp), uriName(ocspUrl)));
  if (caUrl !== undefined) access.push(sequence(oid(OID.adCaIssuers), uriName(caUrl)));
  if (access.length > 0) extensions.push(extension(OID.authorityInfoAccess, false, sequence(...access)));
  if (profile.noCheck) extensions.push(extension(OID.ocspNoCheck, false, nullValue()));
  return extensions;
}

// A subjectAltName extension up to the OCTET STRING; not critical, because our subjects are never empty.
const SAN_OID = oid(OID.subjectAltName);

function subjectAltName(sanDns: string | readonly string[] | undefined, sanIp: readonly Buffer[] | undefined): Buffer {
  if (sanDns === undefined && sanIp === undefined) return EMPTY;
  const dns = typeof sanDns === 'string' ? [sanDns] : (sanDns ?? []);
  const names = [...dns.map(dnsName), ...(sanIp ?? []).map(ipName)];
  if (names.length === 0) return EMPTY;
  return tlv(TAG.SEQUENCE, SAN_OID, octetString(sequence(...names)));
}
