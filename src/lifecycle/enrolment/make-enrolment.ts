import { activate } from './activate.js';
import { type AuthenticationDeps, authenticateCredential } from './authenticate-credential.js';
import type { ActivationDeps } from './claim.js';
import { createGrant, type GrantDeps, withdrawGrant } from './create-grant.js';
import type { Enrolment } from './enrolment.js';

export type EnrolmentDeps = ActivationDeps & AuthenticationDeps & GrantDeps;

export function makeEnrolment(deps: EnrolmentDeps): Enrolment {
  return {
    authenticate: (presented) => authenticateCredential(deps, presented),
    issueNonce: (credential) => deps.nonces.issue(credential),
    activate: (request) => activate(deps, request),
    createGrant: (request) => createGrant(deps, request),
    withdrawGrant: (request) => withdrawGrant(deps, request),
  };
}
