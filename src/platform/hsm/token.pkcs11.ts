/**
 * Opens, logs in to and closes a PKCS#11 module; beside it only token-thread.pkcs11.ts calls one. Raw CKM_ECDSA over a hash made
 * in Node: SoftHSM 2.6 has no CKM_ECDSA_SHA256, and every HSM has CKM_ECDSA. Calls are synchronous on purpose: C_SignInit,
 * the dear half, is synchronous in the binding anyway.
 */
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import { extname } from 'node:path';
import pkcs11js from 'pkcs11js';
import { readPinFile } from './pin-file.js';
import type {
  CeremonySession,
  KeyAttributes,
  ModuleSettings,
  TokenCurve,
  TokenKey,
  TokenSession,
  TokenSettings,
  TokenStore,
} from './token.js';
import { KeyRefusal, TokenFault } from './token.js';
import type { TokenPlace } from './token-thread-messages.js';

type Handle = Buffer;

interface Curve {
  readonly name: TokenCurve;
  /** DER of the named curve's OID: CKA_EC_PARAMS. */
  readonly parameters: Buffer;
  /** DER of SubjectPublicKeyInfo up to the point. */
  readonly spkiHead: Buffer;
  readonly pointBytes: number;
  readonly signatureBytes: number;
  readonly hash: 'sha256' | 'sha384';
}

const CURVES: readonly Curve[] = [
  {
    name: 'P-256',
    parameters: Buffer.from('06082a8648ce3d030107', 'hex'),
    spkiHead: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d030107034200', 'hex'),
    pointBytes: 65,
    signatureBytes: 64,
    hash: 'sha256',
  },
  {
    name: 'P-384',
    parameters: Buffer.from('06052b81040022', 'hex'),
    spkiHead: Buffer.from('3076301006072a8648ce3d020106052b81040022036200', 'hex'),
    pointBytes: 97,
    signatureBytes: 96,
    hash: 'sha384',
  },
];

const CKR_CRYPTOKI_ALREADY_INITIALIZED = 0x191;
const CKR_USER_ALREADY_LOGGED_IN = 0x100;
const CKR_ATTRIBUTE_TYPE_INVALID = 0x12;
const CKF_TOKEN_INITIALIZED = 0x400;
const SIGN_MECHANISM = { mechanism: pkcs11js.CKM_ECDSA };

/** Module of a token thread; beside this file whether it is compiled or not. */
export const TOKEN_THREAD = new URL(`./token-thread.pkcs11${extname(import.meta.url)}`, import.meta.url);

/** Opens the configured token and logs in with exactly one C_Login. */
export function openPkcs11Token(settings: TokenSettings): Session {
  const module = loadModule(settings.module);
  try {
    const slot = slotOfToken(module, settings.tokenLabel);
    return new Session({
      module,
      path: settings.module.path,
      slot,
      pin: readPinFile(settings.pinFile),
      ceremony: false,
    });
  } catch (thrown) {
    finalise(module);
    throw thrown;
  }
}

/** Opens a module for a ceremony: tokens can be initialised and keys made. */
export function openPkcs11Store(settings: ModuleSettings): TokenStore {
  const module = loadModule(settings);
  return {
    initialiseToken({ label, soPin, userPin }) {
      if (slotsByLabel(module, label).length > 0) throw new KeyRefusal(label, 'a token of this label exists already');
      const slot = emptySlot(module);
      call('C_InitToken', () => module.C_InitToken(slot, soPin, label.padEnd(32, ' ')));
      // SoftHSM moves a fresh token to a new slot number, so look it up again.
      const made = slotOfToken(module, label);
      const session = call('C_OpenSession', () =>
        module.C_OpenSession(made, pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION),
      );
      call('C_Login', () => module.C_Login(session, pkcs11js.CKU_SO, soPin));
      call('C_InitPIN', () => module.C_InitPIN(session, userPin));
      call('C_Logout', () => module.C_Logout(session));
      call('C_CloseSession', () => module.C_CloseSession(session));
      const info = call('C_GetTokenInfo', () => module.C_GetTokenInfo(made));
      return { serialNumber: info.serialNumber.trim(), model: info.model.trim() };
    },
    open({ label, userPin }) {
      const slot = slotOfToken(module, label);
      return new Session({ module, path: settings.path, slot, pin: userPin, ceremony: true });
    },
    close() {
      finalise(module);
    },
  };
}

class Session implements TokenSession, CeremonySession {
  private readonly handles = new Map<string, { key: Handle; curve: Curve }>();
  readonly module: pkcs11js.PKCS11;
  readonly session: Handle;
  private readonly modulePath: string;
  private readonly slot: Handle;
  private readonly ceremony: boolean;

  constructor(login: { module: pkcs11js.PKCS11; path: string; slot: Handle; pin: string; ceremony: boolean }) {
    const { module, path, slot, pin, ceremony } = login;
    this.module = module;
    this.modulePath = path;
    this.slot = slot;
    this.ceremony = ceremony;
    const flags = pkcs11js.CKF_SERIAL_SESSION | (ceremony ? pkcs11js.CKF_RW_SESSION : 0);
    this.session = call('C_OpenSession', () => module.C_OpenSession(slot, flags));
    try {
      call('C_Login', () => module.C_Login(this.session, pkcs11js.CKU_USER, pin));
    } catch (thrown) {
      // The login belongs to the process, not to the session (PKCS#11 v2.40 section 2.6.1).
      if (!(thrown instanceof TokenFault && thrown.rv === CKR_USER_ALREADY_LOGGED_IN)) throw thrown;
    }
  }

  key(label: string): TokenKey {
    const privateKey = this.single(label, pkcs11js.CKO_PRIVATE_KEY, 'private key');
    const publicKey = this.single(label, pkcs11js.CKO_PUBLIC_KEY, 'public key');
    const curve = curveOf(label, this.bytes(publicKey, pkcs11js.CKA_EC_PARAMS));
    const spki = spkiOf(label, curve, this.bytes(publicKey, pkcs11js.CKA_EC_POINT));
    this.handles.set(label, { key: privateKey, curve });
    const attributes = this.attributes(privateKey);
    if (attributes.sign) this.proveHalvesMatch(label, curve, spki);
    return { label, curve: curve.name, spki, attributes };
  }

  sign(label: string, digest: Buffer): Buffer {
    const found = this.handles.get(label);
    if (!found) throw new KeyRefusal(label, 'it was not opened in this session');
    return call('C_Sign', () => {
      this.module.C_SignInit(this.session, SIGN_MECHANISM, found.key);
      return this.module.C_Sign(this.session, digest, Buffer.allocUnsafe(found.curve.signatureBytes));
    });
  }

  /** The keys found so far, for the sessions of other threads. */
  place(): TokenPlace {
    const keys = [...this.handles].map(([label, { key, curve }]) => {
      const { signatureBytes } = curve;
      return { label, handle: key, digestBytes: signatureBytes / 2, signatureBytes };
    });
    return { modulePath: this.modulePath, slot: this.slot, keys };
  }

  generateKey(label: string, curveName: TokenCurve): TokenKey {
    if (this.find(label, pkcs11js.CKO_PRIVATE_KEY).length > 0) {
      throw new KeyRefusal(label, 'the token already holds a key of this label');
    }
    const curve = CURVES.find(({ name }) => name === curveName) ?? unknownCurve(label);
    const id = randomBytes(16);
    call('C_GenerateKeyPair', () =>
      this.module.C_GenerateKeyPair(
        this.session,
        { mechanism: pkcs11js.CKM_EC_KEY_PAIR_GEN },
        [
          { type: pkcs11js.CKA_TOKEN, value: true },
          { type: pkcs11js.CKA_PRIVATE, value: false },
          { type: pkcs11js.CKA_LABEL, value: label },
          { type: pkcs11js.CKA_ID, value: id },
          { type: pkcs11js.CKA_VERIFY, value: true },
          { type: pkcs11js.CKA_EC_PARAMS, value: curve.parameters },
        ],
        [
          { type: pkcs11js.CKA_TOKEN, value: true },
          { type: pkcs11js.CKA_PRIVATE, value: true },
          { type: pkcs11js.CKA_LABEL, value: label },
          { type: pkcs11js.CKA_ID, value: id },
          { type: pkcs11js.CKA_SENSITIVE, value: true },
          { type: pkcs11js.CKA_EXTRACTABLE, value: false },
          { type: pkcs11js.CKA_SIGN, value: true },
          { type: pkcs11js.CKA_SIGN_RECOVER, value: false },
          { type: pkcs11js.CKA_DECRYPT, value: false },
          { type: pkcs11js.CKA_UNWRAP, value: false },
          { type: pkcs11js.CKA_DERIVE, value: false },
        ],
      ),
    );
    return this.key(label);
  }

  close(): void {
    try {
      this.module.C_CloseSession(this.session);
    } catch (thrown) {
      // A dead session is what closing is for; nothing can be done and nothing depends on it.
      if (!(thrown instanceof pkcs11js.NativeError)) throw thrown;
    }
    // A ceremony's store outlives its sessions and finalises by itself.
    if (!this.ceremony) finalise(this.module);
  }

  /** A public object that does not belong to the private key would put the wrong key into every certificate (H8). */
  private proveHalvesMatch(label: string, curve: Curve, spki: Buffer): void {
    // The text in front keeps the signature from meaning anything as a certificate, an answer or a head.
    const challenge = Buffer.concat([Buffer.from('femtopki-key-check\n'), randomBytes(32)]);
    const signature = this.sign(label, createHash(curve.hash).update(challenge).digest());
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
    if (!verify(curve.hash, challenge, { key, dsaEncoding: 'ieee-p1363' }, signature)) {
      throw new KeyRefusal(label, 'its public key object does not belong to its private key');
    }
  }

  private find(label: string, objectClass: number): Handle[] {
    return call('C_FindObjects', () => {
      this.module.C_FindObjectsInit(this.session, [
        { type: pkcs11js.CKA_CLASS, value: objectClass },
        { type: pkcs11js.CKA_LABEL, value: label },
      ]);
      try {
        return this.module.C_FindObjects(this.session, 3);
      } finally {
        this.module.C_FindObjectsFinal(this.session);
      }
    });
  }

  private single(label: string, objectClass: number, what: string): Handle {
    const found = this.find(label, objectClass);
    const [only] = found;
    if (!only) throw new KeyRefusal(label, `the token holds no ${what} of this label`);
    if (found.length > 1) throw new KeyRefusal(label, `the token holds more than one ${what} of this label`);
    return only;
  }

  private bytes(object: Handle, type: number): Buffer {
    const [attribute] = call('C_GetAttributeValue', () =>
      this.module.C_GetAttributeValue(this.session, object, [{ type }]),
    );
    if (!attribute) throw new TokenFault('C_GetAttributeValue', 0, 'no value');
    return attribute.value;
  }

  /** An attribute the token does not know reads as false: that refuses the key wherever `true` is demanded. */
  private flag(object: Handle, type: number): boolean {
    try {
      return this.bytes(object, type)[0] === 1;
    } catch (thrown) {
      if (thrown instanceof TokenFault && thrown.rv === CKR_ATTRIBUTE_TYPE_INVALID) return false;
      throw thrown;
    }
  }

  private attributes(key: Handle): KeyAttributes {
    return {
      sensitive: this.flag(key, pkcs11js.CKA_SENSITIVE),
      alwaysSensitive: this.flag(key, pkcs11js.CKA_ALWAYS_SENSITIVE),
      extractable: this.flag(key, pkcs11js.CKA_EXTRACTABLE),
      neverExtractable: this.flag(key, pkcs11js.CKA_NEVER_EXTRACTABLE),
      local: this.flag(key, pkcs11js.CKA_LOCAL),
      token: this.flag(key, pkcs11js.CKA_TOKEN),
      private: this.flag(key, pkcs11js.CKA_PRIVATE),
      sign: this.flag(key, pkcs11js.CKA_SIGN),
      signRecover: this.flag(key, pkcs11js.CKA_SIGN_RECOVER),
      decrypt: this.flag(key, pkcs11js.CKA_DECRYPT),
      unwrap: this.flag(key, pkcs11js.CKA_UNWRAP),
      derive: this.flag(key, pkcs11js.CKA_DERIVE),
    };
  }
}

function loadModule(settings: ModuleSettings): pkcs11js.PKCS11 {
  for (const [name, value] of Object.entries(settings.environment)) process.env[name] = value;
  const module = new pkcs11js.PKCS11();
  call('load', () => module.load(settings.path));
  try {
    // Without CKF_OS_LOCKING_OK SoftHSM switches its mutexes off and p11-kit answers CKR_CANT_LOCK.
    module.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
  } catch (thrown) {
    const fault = asTokenFault('C_Initialize', thrown);
    if (fault.rv !== CKR_CRYPTOKI_ALREADY_INITIALIZED) {
      module.close();
      throw fault;
    }
  }
  return module;
}

/** Best effort by nature: a module whose device is gone may refuse even this, and the next load starts afresh. */
function finalise(module: pkcs11js.PKCS11): void {
  try {
    module.C_Finalize();
  } catch (thrown) {
    if (!(thrown instanceof pkcs11js.NativeError)) throw thrown;
  }
  module.close();
}

function slotsByLabel(module: pkcs11js.PKCS11, label: string): Handle[] {
  const slots = call('C_GetSlotList', () => module.C_GetSlotList(true));
  return slots.filter((slot) => {
    const info = call('C_GetTokenInfo', () => module.C_GetTokenInfo(slot));
    return (info.flags & CKF_TOKEN_INITIALIZED) !== 0 && info.label.trimEnd() === label;
  });
}

function slotOfToken(module: pkcs11js.PKCS11, label: string): Handle {
  const found = slotsByLabel(module, label);
  const [only] = found;
  // CKR_TOKEN_NOT_PRESENT: a token that is not plugged in may come back, so this is a fault and not a refusal.
  if (!only) throw new TokenFault('C_GetSlotList', 0xe0, `no token is labelled "${label}"`);
  if (found.length > 1) throw new KeyRefusal(label, 'more than one token has this label');
  return only;
}

function emptySlot(module: pkcs11js.PKCS11): Handle {
  const slots = call('C_GetSlotList', () => module.C_GetSlotList(true));
  const empty = slots.find((slot) => {
    const info = call('C_GetTokenInfo', () => module.C_GetTokenInfo(slot));
    return (info.flags & CKF_TOKEN_INITIALIZED) === 0;
  });
  if (!empty) throw new TokenFault('C_GetSlotList', 0xe0, 'no slot with an uninitialised token is left');
  return empty;
}

function curveOf(label: string, parameters: Buffer): Curve {
  return CURVES.find((curve) => curve.parameters.equals(parameters)) ?? unknownCurve(label);
}

function unknownCurve(label: string): never {
  throw new KeyRefusal(label, 'it is not on P-256 or P-384');
}

/** CKA_EC_POINT is an OCTET STRING round the point; a few modules give the bare point (PKCS#11 v2.40 section 6.3.3). */
function spkiOf(label: string, curve: Curve, value: Buffer): Buffer {
  const point = value.length === curve.pointBytes ? value : value.subarray(value.length - curve.pointBytes);
  if (point.length !== curve.pointBytes || point[0] !== 0x04) {
    throw new KeyRefusal(label, 'its public point is not in uncompressed form');
  }
  return Buffer.concat([curve.spkiHead, point]);
}

function call<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    throw asTokenFault(name, thrown);
  }
}

export function asTokenFault(name: string, thrown: unknown): TokenFault {
  if (thrown instanceof TokenFault) return thrown;
  if (thrown instanceof pkcs11js.NativeError) {
    const rv = 'code' in thrown && typeof thrown.code === 'number' ? thrown.code : 0;
    return new TokenFault(name, rv, thrown.message);
  }
  return new TokenFault(name, 0, thrown instanceof Error ? thrown.message : 'unknown failure', thrown);
}
