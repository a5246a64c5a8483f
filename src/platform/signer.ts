/**
 * What the servers ask of the signer process (rules: whole TBS, never digests). The signer parses every TBS again and
 * decides by its own file; nothing in a request can widen what a role may sign.
 */
export const SIGN_PURPOSES = [
  'operational', // a femtocell's gateway certificate, under a Device CA
  'bootstrap', // a femtocell's factory identity, under the Bootstrap CA
  'services', // gateways, servers, stations, machine clients, decision and time keys, under the Services CA
  'preissue', // the next operational certificate for the same attested key; `evidence` = predecessor certificate DER
  'ocsp-signer', // certificate of an OCSP key that lives in the same token
  'crl', // complete, delta or shard; `evidence` of a delta = its base CRL DER
  'ocsp', // ResponseData of an OCSP answer
  'audit-head', // head of the ledger; `evidence` = consistency proof from the last signed head
] as const;
export type SignPurpose = (typeof SIGN_PURPOSES)[number];

/** A process that asks: one unix socket each. */
export const SIGNER_ROLES = ['enrol', 'status', 'worker'] as const;
export type SignerRole = (typeof SIGNER_ROLES)[number];

export interface SignRequest {
  readonly purpose: SignPurpose;
  /** PKCS#11 label of the key, e.g. `device-ca-1`. */
  readonly keyLabel: string;
  /**
   * What the journal calls this signature: certificate serial hex; `crl:<issuer label>:<number>`;
   * `crl-part:<issuer label>:<part>:<number>`;
   * `ocsp:<serial hex>:<thisUpdate ISO>`; `head:<epoch>:<seq>`.
   */
  readonly name: string;
  /** DER TBSCertificate, TBSCertList or OCSP ResponseData; for a head its canonical text. At most 64 MiB. */
  readonly tbs: Buffer;
  readonly evidence?: Buffer;
}

export type SignResult =
  /** `signature`: DER Ecdsa-Sig-Value over `tbs` with the hash of the key's curve. */
  | { readonly ok: true; readonly signature: Buffer }
  | {
      readonly ok: false;
      /** UNKNOWN_ISSUER: the key was barred from certificates when its CA was retired. */
      readonly code:
        | 'HSM_UNAVAILABLE'
        | 'DENIED'
        | 'LIFETIME_EXCEEDS_CEILING'
        | 'RATE_LIMITED'
        | 'BAD_REQUEST'
        | 'UNKNOWN_ISSUER';
      readonly message: string;
    };

export interface Signer {
  /**
   * Signs a batch. Results come in the order of the requests; one refused row never fails its neighbours.
   * Never throws for a token fault: each row says HSM_UNAVAILABLE. Deadline 5 s.
   */
  sign(requests: readonly SignRequest[]): Promise<SignResult[]>;
  close(): Promise<void>;
}
