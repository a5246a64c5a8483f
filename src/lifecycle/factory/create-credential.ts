import type { Transaction } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import { isPrefix } from '../../platform/net/ip-address.js';
import { readSpki } from '../../x509/spki.js';
import type { Actor } from '../model/index.js';
import { checkName, IDENTIFIER } from '../registry/index.js';
import type { FactoryCredential, NewFactoryCredential } from './factory-credential.js';
import type { FactoryDeps } from './factory-deps.js';

const LIFE_HOURS_DEFAULT = 12;
/** Ceiling of the requirements, section 3: seven days. */
const LIFE_HOURS_MAX = 168;
const CIDRS_MAX = 32;
/** A wider prefix than a whole registry's allocation says "anywhere" in other words. */
const PREFIX_BITS_MIN = { ipv4: 8, ipv6: 20 } as const;
const HOUR_MS = 3_600_000;

export async function createFactoryCredential(
  deps: FactoryDeps,
  request: NewFactoryCredential,
): Promise<FactoryCredential> {
  const name = checkName(request.name, 'credential name', IDENTIFIER);
  const site = checkName(request.site, 'site');
  const cidrs = checkCidrs(request.cidrs);
  const { hourFrom = 0, hourTo = 24, lifeHours = LIFE_HOURS_DEFAULT } = request;
  checkNumber('hourFrom', hourFrom, 0, 23);
  checkNumber('hourTo', hourTo, 1, 24);
  checkNumber('lifeHours', lifeHours, 1, LIFE_HOURS_MAX);
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const maker = await deps.makers.maker(tx, { name: request.makerName });
    if (maker === null) throw new FemtoError('NOT_FOUND', 'There is no such maker; register it first.');
    const batch = await deps.makers.batch(tx, { makerId: maker.id, name: request.batchName });
    if (batch === null) throw new FemtoError('NOT_FOUND', 'The maker has no such batch; submit its manifest first.');
    const { quota = batch.unitCount } = request;
    checkNumber('quota', quota, 1, batch.unitCount);
    const key = await boundKey(deps, request, maker.id);
    const credential = await deps.credentials.add(tx, {
      ...key,
      makerId: maker.id,
      batchId: batch.id,
      name,
      site,
      cidrs,
      hourFrom,
      hourTo,
      quota,
      notBefore: at,
      expiresAt: new Date(at.getTime() + lifeHours * HOUR_MS),
      createdBy: request.actor,
    });
    if (credential === null) throw new FemtoError('STATE_CONFLICT', `There is a credential ${name} already.`);
    await record(deps, tx, 'credential.created', credential, at, {
      actor: request.actor,
      site,
      kind: credential.kind,
      cidrs,
      hourFrom,
      hourTo,
      quota,
      expiresAt: credential.expiresAt.toISOString(),
    });
    return credential;
  });
}

export async function revokeFactoryCredential(
  deps: FactoryDeps,
  { name, actor, reason }: { name: string; actor: Actor; reason: string },
): Promise<FactoryCredential> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const credential = await deps.credentials.find(tx, { name });
    if (credential === null) throw new FemtoError('NOT_FOUND', 'There is no such credential.');
    if (credential.state === 'revoked') return credential;
    await deps.credentials.revoke(tx, credential.id);
    await record(deps, tx, 'credential.revoked', credential, at, { actor, reason: reason.slice(0, 500) });
    return { ...credential, state: 'revoked' };
  });
}

/** The ledger entry of anything that happens to a credential. */
export async function record(
  { ledger }: FactoryDeps,
  tx: Transaction,
  kind: string,
  credential: FactoryCredential,
  at: Date,
  facts: Record<string, unknown>,
): Promise<void> {
  const { id, makerId, batchId, name } = credential;
  await ledger.append(tx, [
    { kind, subject: `credential:${name}`, at, body: { credentialId: id, makerId, batchId, ...facts } },
  ]);
}

async function boundKey(
  { machines }: FactoryDeps,
  { stationName, tokenKeySpki }: NewFactoryCredential,
  makerId: number,
): Promise<Pick<FactoryCredential, 'kind' | 'spkiHash' | 'tokenSpkiDer'>> {
  if ((stationName === undefined) === (tokenKeySpki === undefined)) {
    throw new FemtoError('BAD_REQUEST', 'Name either a station or a token key, not both and not neither.');
  }
  if (tokenKeySpki !== undefined) {
    const key = readSpki(tokenKeySpki);
    if (key.algorithm !== 'P-256') throw new FemtoError('KEY_WEAK', 'Tokens are signed with ES256: give a P-256 key.');
    return { kind: 'token', spkiHash: key.spkiHash, tokenSpkiDer: key.spkiDer };
  }
  const station = await machines.byName(stationName ?? '');
  if (station === null || station.kind !== 'station' || station.makerId !== makerId) {
    throw new FemtoError('NOT_FOUND', 'The maker has no such station; add it first.');
  }
  if (station.state !== 'approved') {
    throw new FemtoError('STATE_CONFLICT', 'The station is not approved; approve it first.', {
      facts: { state: station.state },
    });
  }
  return { kind: 'mtls', spkiHash: station.spkiHash, tokenSpkiDer: null };
}

function checkCidrs(cidrs: readonly string[]): readonly string[] {
  if (cidrs.length === 0 || cidrs.length > CIDRS_MAX) {
    throw new FemtoError('BAD_REQUEST', `A factory credential names 1 to ${CIDRS_MAX} source prefixes.`);
  }
  for (const cidr of cidrs) {
    const bitsMin = cidr.includes(':') ? PREFIX_BITS_MIN.ipv6 : PREFIX_BITS_MIN.ipv4;
    if (isPrefix(cidr) && Number(cidr.slice(cidr.indexOf('/') + 1)) >= bitsMin) continue;
    throw new FemtoError('BAD_REQUEST', 'A source prefix is malformed, has bits behind its length, or is too wide.');
  }
  return [...new Set(cidrs)];
}

function checkNumber(what: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return;
  throw new FemtoError('BAD_REQUEST', `${what} is a whole number from ${min} to ${max}.`, { facts: { field: what } });
}
