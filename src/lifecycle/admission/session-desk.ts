import type { Clock, RandomBytes } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import { canonicalAddress } from '../../platform/net/ip-address.js';
import { judgeProbe, type ProbeVerdict } from './both-alive.js';
import type { AskingGateway } from './decision.js';
import {
  type ProbeAnswer,
  type ProbeState,
  SESSION_EVENTS_MAX,
  type SessionDesk,
  type SessionEvent,
  type SessionReceipt,
  type SessionReport,
} from './session.js';
import type { NamedEvent, SessionStore } from './session-store.js';

export interface SessionDeskDeps {
  readonly db: Transactor;
  readonly clock: Clock;
  readonly random: RandomBytes;
  readonly ledger: Ledger;
  readonly sessions: SessionStore;
}

export function makeSessionDesk(deps: SessionDeskDeps): SessionDesk {
  return {
    report: (gateway, report) => takeReport(deps, gateway, report),
    probes: async (gateway) => {
      const now = deps.clock.now();
      await deps.sessions.endOverdue(deps.db.read, now);
      return deps.sessions.questionsFor(deps.db.read, gateway.machineId, now, QUESTIONS_MAX);
    },
    answerProbe: (gateway, answer) => takeAnswer(deps, gateway, answer),
  };
}

/** A gateway whose clock runs ahead by more is wrong, and what it says cannot be put in order. */
const AHEAD_MS_MAX = 60_000;
const AGE_MS_MAX = 30 * 86_400_000;
const MISSING_RANGES_MAX = 20;
const QUESTIONS_MAX = 100;
/** A unit that changes its gateway is in both places until the old one hears of it. */
const GRACE_MS = 5_000;
const ANSWER_MS = 60_000;
const NONCE_BYTES = 16;
const SESSIONS_ASKED_MAX = 8;

/** 1 whose and when → 2 once → 3 what it adds up to → 4 whom to ask about. */
async function takeReport(
  deps: SessionDeskDeps,
  gateway: AskingGateway,
  { stream, events }: SessionReport,
): Promise<SessionReceipt> {
  if (events.length > SESSION_EVENTS_MAX)
    throw new FemtoError('BAD_REQUEST', `A report holds at most ${SESSION_EVENTS_MAX} events; send the rest next.`);
  const now = deps.clock.now();
  const { machineId } = gateway;
  return deps.db.run(async (tx) => {
    const units = await deps.sessions.unitsByFqdn(tx, [
      ...new Set(events.map(({ identity }) => identity.toLowerCase())),
    ]);
    const refused: SessionReceipt['refused'][number][] = [];
    const named: NamedEvent[] = [];
    for (const event of events) {
      const unitId = units.get(event.identity.toLowerCase());
      const address = canonicalAddress(event.address);
      const fault = faultOf(event, unitId, address, now);
      if (fault || unitId === undefined || address === null) refused.push({ seq: event.seq, ...(fault ?? UNKNOWN) });
      else named.push({ ...event, unitId, address });
    }
    const fresh = await deps.sessions.addEvents(tx, { gatewayId: machineId, stream, events: named, receivedAt: now });
    const added = named.filter(({ seq }) => fresh.has(seq));
    if (added.length > 0) await deps.sessions.applyEvents(tx, machineId, added);
    await askAboutNewcomers(deps, tx, added, now);
    return {
      accepted: added.length,
      repeated: named.length - added.length,
      refused,
      missing: await deps.sessions.missing(tx, machineId, stream, MISSING_RANGES_MAX),
    };
  });
}

const UNKNOWN = {
  code: 'UNREGISTERED',
  detail: 'No unit has this identity; send it as IKE authenticated it.',
} as const;

function faultOf(
  { at }: SessionEvent,
  unitId: number | undefined,
  address: string | null,
  now: Date,
): Pick<SessionReceipt['refused'][number], 'code' | 'detail'> | null {
  if (unitId === undefined) return UNKNOWN;
  if (address === null) return { code: 'BAD_REQUEST', detail: 'The address is no IPv4 or IPv6 address.' };
  if (at.getTime() > now.getTime() + AHEAD_MS_MAX)
    return { code: 'BAD_REQUEST', detail: 'The event lies in the future; set the gateway’s clock.' };
  if (at.getTime() < now.getTime() - AGE_MS_MAX)
    return { code: 'BAD_REQUEST', detail: 'The event is older than 30 days; leave it out.' };
  return null;
}

/** Whoever comes up while another session of the unit is open elsewhere: both are asked, a little later. */
async function askAboutNewcomers(
  deps: SessionDeskDeps,
  tx: Transaction,
  added: readonly NamedEvent[],
  now: Date,
): Promise<void> {
  const newcomers = new Set(added.filter(({ kind }) => kind !== 'down').map(({ unitId }) => unitId));
  if (newcomers.size === 0) return;
  const doubles = await deps.sessions.unitsInTwoPlaces(tx, [...newcomers]);
  if (doubles.length > 0) await deps.sessions.endOverdue(tx, now);
  for (const unitId of doubles) await openProbe(deps, tx, unitId, now);
}

async function openProbe(deps: SessionDeskDeps, tx: Transaction, unitId: number, now: Date): Promise<void> {
  await deps.sessions.openProbe(tx, {
    unitId,
    nonce: deps.random(NONCE_BYTES),
    askAt: new Date(now.getTime() + GRACE_MS),
    endsAt: new Date(now.getTime() + GRACE_MS + ANSWER_MS),
    sessionsMax: SESSIONS_ASKED_MAX,
  });
}

async function takeAnswer(deps: SessionDeskDeps, gateway: AskingGateway, answer: ProbeAnswer): Promise<ProbeState> {
  const now = deps.clock.now();
  const { id, session, nonce, alive } = answer;
  return deps.db.run(async (tx) => {
    const probe = await deps.sessions.probe(tx, id);
    if (!probe) throw notAsked();
    if (!probe.nonce.equals(nonce))
      throw new FemtoError('NONCE_BAD', 'The nonce is not that of the question; read /v1/probes again.');
    if (probe.state !== 'open' || now >= probe.endsAt || now < probe.askAt)
      throw new FemtoError('STATE_CONFLICT', 'The question is over; read /v1/probes again.');
    if (!(await deps.sessions.answer(tx, { id, gatewayId: gateway.machineId, session, alive, at: now })))
      throw notAsked();
    const verdict = judgeProbe(await deps.sessions.probedSessions(tx, id));
    if (verdict.kind === 'open') return 'open';
    await deps.sessions.closeProbe(tx, id, verdict.kind, now);
    // Whoever came up while this question was open was not in it, and nobody asks about one that stays.
    if (verdict.kind === 'not-both' && (await deps.sessions.hasLatecomer(tx, id))) {
      for (const unitId of await deps.sessions.unitsInTwoPlaces(tx, [probe.unitId])) {
        await openProbe(deps, tx, unitId, now);
      }
    }
    if (verdict.kind === 'both-alive') await tellLedger(deps, tx, probe.serialNumber, id, verdict, now);
    return verdict.kind;
  });
}

function notAsked(): FemtoError {
  return new FemtoError('NOT_FOUND', 'This gateway is not asked about that session; read /v1/probes again.');
}

async function tellLedger(
  { ledger }: SessionDeskDeps,
  tx: Transaction,
  serialNumber: string,
  probeId: string,
  { sessions }: Extract<ProbeVerdict, { kind: 'both-alive' }>,
  at: Date,
): Promise<void> {
  const places = sessions.map(({ gateway, address, sessionHex }) => ({ gateway, address, session: sessionHex }));
  const gateways = [...new Set(sessions.map(({ gateway }) => gateway))].sort();
  await ledger.append(tx, [
    { kind: 'session.both-alive', subject: `unit:${serialNumber}`, at, body: { probe: probeId, gateways, places } },
  ]);
}
