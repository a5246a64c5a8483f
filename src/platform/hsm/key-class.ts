import type { SignerRole, SignPurpose } from '../signer.js';

/**
 * A key class is one signer process with one login: what breaks in it, or is broken into, ends there.
 * `ca` holds Device, Bootstrap and Services CA keys; `ocsp` the OCSP signers; `audit` the head key.
 */
export const KEY_CLASSES = ['ca', 'ocsp', 'audit'] as const;
export type KeyClass = (typeof KEY_CLASSES)[number];

export const CLASS_OF_PURPOSE = {
  operational: 'ca',
  bootstrap: 'ca',
  services: 'ca',
  preissue: 'ca',
  'ocsp-signer': 'ca',
  crl: 'ca',
  ocsp: 'ocsp',
  'audit-head': 'audit',
} as const satisfies Record<SignPurpose, KeyClass>;

/** Column "May ask the signer for" of the process table: the socket a request comes in by decides, nothing inside it. */
export const PURPOSES_OF_ROLE = {
  enrol: ['operational', 'bootstrap'],
  status: ['ocsp'],
  worker: ['services', 'preissue', 'ocsp-signer', 'crl', 'audit-head'],
} as const satisfies Record<SignerRole, readonly SignPurpose[]>;

/** Every role, e.g. for a file that gives one to a key. */
export const LINK_ROLES = ['enrol', 'status', 'worker'] as const satisfies readonly SignerRole[];

export function mayAsk(role: SignerRole, purpose: SignPurpose): boolean {
  return (PURPOSES_OF_ROLE[role] as readonly SignPurpose[]).includes(purpose);
}

/** Roles that have any business with a class: only these get a socket. */
export function rolesOfClass(keyClass: KeyClass): SignerRole[] {
  return (Object.keys(PURPOSES_OF_ROLE) as SignerRole[]).filter((role) =>
    PURPOSES_OF_ROLE[role].some((purpose) => CLASS_OF_PURPOSE[purpose] === keyClass),
  );
}
