import { acceptManifest, closeBatch, closeOwnBatch } from './accept-manifest.js';
import { allowRework } from './allow-rework.js';
import { checkFactoryCredential } from './check-credential.js';
import { createFactoryCredential, revokeFactoryCredential } from './create-credential.js';
import { createMacSecret } from './create-mac-secret.js';
import { enrolAtFactory } from './enrol-at-factory.js';
import { enrolBySecret, macSecret } from './enrol-by-secret.js';
import { stationCaller, tokenCaller } from './factory-caller.js';
import type { FactoryDeps } from './factory-deps.js';
import type { FactoryOffice } from './factory-office.js';
import { submitManifest } from './submit-manifest.js';

export function makeFactoryOffice(deps: FactoryDeps): FactoryOffice {
  return {
    submitManifest: (submission) => submitManifest(deps, submission),
    acceptManifest: (request) => acceptManifest(deps, request),
    closeBatch: (request) => closeBatch(deps, request),
    closeOwnBatch: (request) => closeOwnBatch(deps, request),
    allowRework: (request) => allowRework(deps, request),
    createCredential: (request) => createFactoryCredential(deps, request),
    revokeCredential: (request) => revokeFactoryCredential(deps, request),
    credentials: (filter) => deps.credentials.list(deps.transactor.read, filter),
    stationCaller: (peer) => stationCaller(deps, peer),
    tokenCaller: (token) => tokenCaller(deps, token),
    enrol: (request) => enrolAtFactory(deps, request),
    createMacSecret: (request) => createMacSecret(deps, request),
    macSecret: (reference) => macSecret(deps, reference),
    enrolBySecret: (request) => enrolBySecret(deps, request),
    checkCredential: (request) => checkFactoryCredential(deps, request),
  };
}
