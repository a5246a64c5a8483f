import { advise } from './advise.js';
import { confirm } from './confirm.js';
import { moveWindow } from './move-window.js';
import { pickUp, preissueNext } from './preissue.js';
import { renew } from './renew.js';
import type { Renewal } from './renewal.js';
import type { RenewalDeps } from './renewal-deps.js';
import { settleIssued } from './settle-issued.js';

export function makeRenewal(deps: RenewalDeps): Renewal {
  return {
    renew: (request) => renew(deps, request),
    confirm: (request) => confirm(deps, request),
    advise: (request) => advise(deps, request),
    settleIssued: (request) => settleIssued(deps, request),
    pickUp: (request) => pickUp(deps, request),
    preissueNext: (slotId) => preissueNext(deps, slotId),
    moveWindow: (tx, move) => moveWindow(deps, tx, move),
  };
}
