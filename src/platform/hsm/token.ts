/**
 * A PKCS#11 token as the signer and the ceremony see it. One implementation talks to the module
 * (`token.pkcs11.ts`); tests of the fault policy bring a stub.
 *
 * Every call is synchronous and may block for as long as the device does: only a token thread of the signer
 * (token-threads.ts) or a process that does nothing else makes one.
 */

export type TokenCurve = 'P-256' | 'P-384';

/** Attributes of a private key as the token reports them (PKCS#11 v2.40 section 4.9). */
export interface KeyAttributes {
  readonly sensitive: boolean;
  readonly alwaysSensitive: boolean;
  readonly extractable: boolean;
  readonly neverExtractable: boolean;
  readonly local: boolean;
  readonly token: boolean;
  readonly private: boolean;
  readonly sign: boolean;
  readonly signRecover: boolean;
  readonly decrypt: boolean;
  readonly unwrap: boolean;
  readonly derive: boolean;
}

export interface TokenKey {
  readonly label: string;
  readonly curve: TokenCurve;
  /** DER SubjectPublicKeyInfo, named curve, uncompressed point. */
  readonly spki: Buffer;
  readonly attributes: KeyAttributes;
}

export interface ModuleSettings {
  /** Absolute path of the PKCS#11 shared library. */
  readonly path: string;
  /** Set before the module is loaded, e.g. SOFTHSM2_CONF or P11_KIT_SERVER_ADDRESS: paths and addresses, never a PIN. */
  readonly environment: Readonly<Record<string, string>>;
}

export interface TokenSettings {
  readonly module: ModuleSettings;
  readonly tokenLabel: string;
  /** File with the user PIN, mode 0600 or stricter. */
  readonly pinFile: string;
}

/** A logged-in session. Not for concurrent use (a PKCS#11 session carries one operation at a time). */
export interface TokenSession {
  /**
   * Finds one private key with its public half and reads its attributes.
   * @throws KeyRefusal when there is none or more than one of that label; TokenFault when the token fails.
   */
  key(label: string): TokenKey;
  /**
   * Raw ECDSA over an already hashed message: r ‖ s, each as long as the curve's order.
   * @throws TokenFault
   */
  sign(label: string, digest: Buffer): Buffer;
  /** Closes the session and finalises the module. Never throws: there is nothing left to do about a failure. */
  close(): void;
}

/** The ceremony's side: makes tokens and keys. */
export interface TokenStore {
  /**
   * Initialises one empty token through the PKCS#11 API, so that no PIN passes through an argument list.
   * @throws TokenFault; KeyRefusal when a token of that label exists already
   */
  initialiseToken(options: { label: string; soPin: string; userPin: string }): { serialNumber: string; model: string };
  /** Opens a token, logs in, makes keys. */
  open(options: { label: string; userPin: string }): CeremonySession;
  close(): void;
}

export interface CeremonySession {
  generateKey(label: string, curve: TokenCurve): TokenKey;
  key(label: string): TokenKey;
  sign(label: string, digest: Buffer): Buffer;
  close(): void;
}

export type OpenTokenStore = (module: ModuleSettings) => TokenStore;

/** A call into the module failed. `rv` is the CK_RV, 0 where the failure is not the module's own. */
export class TokenFault extends Error {
  readonly rv: number;
  readonly call: string;
  readonly detail: string;

  constructor(call: string, rv: number, detail: string, cause?: unknown) {
    super(`${call}: ${detail} (0x${rv.toString(16)})`, cause === undefined ? undefined : { cause });
    this.name = 'TokenFault';
    this.rv = rv;
    this.call = call;
    this.detail = detail;
  }
}

/** A key that must not be used (HSM-1). Never retried: a person has to look. */
export class KeyRefusal extends Error {
  readonly label: string;
  readonly reason: string;

  constructor(label: string, reason: string) {
    super(`Key "${label}" is refused: ${reason}`);
    this.name = 'KeyRefusal';
    this.label = label;
    this.reason = reason;
  }
}
