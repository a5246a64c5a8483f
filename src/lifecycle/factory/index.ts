/**
 * A maker's units get their factory identity: manifests, station credentials, bootstrap enrolment, close-out.
 * Promises: no certificate for a serial that is on no accepted manifest; one serial, one bootstrap certificate; a
 * manifest is taken whole or not at all; a credential's limits are checked before the request is read, its quota is
 * taken with the certificate's record, and five proved uses from elsewhere freeze it; a shared secret is good for one
 * bootstrap certificate of one unit whose model allows it; no answer holds a cell identity or a gateway address.
 */
export { VIOLATIONS_MAX } from './check-credential.js';
export type * from './factory-credential.js';
export type * from './factory-deps.js';
export type * from './factory-office.js';
export { BOOTSTRAP_LIFE_SECONDS } from './give-bootstrap.js';
export type { MacSecretStore, NewMacSecret, UsableMacSecret } from './mac-secret.js';
export { makeFactoryOffice } from './make-factory-office.js';
export * from './manifest.js';
export * from './record-refusal.js';
