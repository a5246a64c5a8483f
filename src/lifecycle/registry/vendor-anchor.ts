import type { Certificate } from '../../x509/certificate.js';
import type { Actor, Unit } from '../model/index.js';

/** A maker's own CA, believed for one model of that maker and only for keys that accepted manifests name (rules 3.5). */
export interface VendorAnchor {
  readonly id: number;
  readonly makerId: number;
  readonly makerName: string;
  readonly model: string;
  readonly name: string;
  readonly certificateDer: Buffer;
  readonly subjectDer: Buffer;
  readonly spkiHash: Buffer;
  readonly notAfter: Date;
  /** CAs between the anchor and its units, DER; a unit need not send these. */
  readonly intermediates: readonly Buffer[];
  /** Newest CRL of each of the maker's CAs, DER. None: revocation by the maker is not looked at. */
  readonly crls: readonly Buffer[];
  readonly crlsAt: Date | null;
  readonly state: 'active' | 'disabled';
  readonly createdBy: Actor;
  readonly createdAt: Date;
}

/** Whose a vendor's certificate is. For the room that authenticates credentials. */
export interface VendorAnchors {
  /**
   * The unit whose accepted manifest row names this key, where the chain leads to an active anchor of that unit's maker
   * and model. Null: no manifest names the key, so it is no vendor certificate to us.
   *
   * @param chain  the other certificates the caller sent, DER, in the order they came; at most 20 are looked at
   * @param at     our clock
   * @throws FemtoError CERT_EXPIRED, CERT_NOT_YET_VALID, CERT_REVOKED; KEY_WEAK (key or signature of the path);
   *   UNKNOWN_ISSUER for every other fault of the chain, the reason in the message and `facts.fault`, a CRL of the maker that
   *   has run out included; RETRY_LATER when the judge is busy or did not answer in time
   */
  unitOf(certificate: Certificate, chain: readonly Buffer[], at: Date): Promise<Unit | null>;
}

export interface NewVendorAnchor {
  /** `[A-Za-z0-9._-]`, at most 48. */
  readonly name: string;
  readonly makerName: string;
  readonly model: string;
  readonly certificateDer: Buffer;
  readonly intermediates: readonly Buffer[];
  readonly actor: Actor;
}
