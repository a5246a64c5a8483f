import { randomBytes, randomUUID } from 'node:crypto';
import { readSpki } from '../../../src/x509/spki.js';
import { Oracle } from './oracle.js';
import { type Held, makeKey, Party, type Recording, told } from './party.js';
import { AWAY_ADDRESS, addressOf, NOWHERE_ADDRESS, type Range, type RangeUnit } from './range.js';
import { type Actor, type Answer, GATEWAYS, type History, type Place, type Step } from './step.js';

export interface Played {
  readonly unit: RangeUnit;
  readonly oracle: Oracle;
  /** What came of each step, for the histogram and for whoever looks at one history. */
  readonly told: readonly string[];
}

interface Told {
  readonly seq: number;
  readonly kind: 'up' | 'rekey' | 'down';
  readonly session: Buffer;
  readonly at: Date;
  readonly identity: string;
  readonly address: string;
}

/** Plays a history of one unit until its end, or until two holders have been shown. The range's clock begins anew. */
export async function playHistory(range: Range, history: History, startMs: number): Promise<Played> {
  range.clock.nowMs = startMs;
  const unit = await range.addUnit();
  const oracle = new Oracle();
  const play = new Play(
    range,
    unit,
    new Party(unit, history.client, oracle, await firstCertificate(range, unit, oracle)),
  );
  const words: string[] = [];
  for (const [index, step] of history.steps.entries()) {
    if (index === history.copiedAfter) play.copyFlash();
    range.clock.nowMs += 1_000;
    words.push(`${step.do}: ${await play.take(step)}`);
    if (oracle.shown !== null) break;
  }
  return { unit, oracle, told: words };
}

async function firstCertificate(range: Range, unit: RangeUnit, oracle: Oracle): Promise<Held> {
  const key = makeKey();
  const record = await range.issuance.issue({
    purpose: 'operational',
    unitId: unit.id,
    machineId: null,
    commonName: unit.fqdn,
    sanDns: unit.fqdn,
    spki: readSpki(key.spkiDer),
    lifeSeconds: 7 * 86_400,
    revocationEpoch: 0,
    successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
    actor: `unit:${unit.serialNumber}`,
  });
  oracle.issued(key.hex, null);
  range.clock.nowMs += 1_000;
  return { key, record };
}

class Play {
  private thief: Party | null = null;
  private readonly recordings: Recording[] = [];
  /** Certificates that went over the wire. */
  private readonly seen: Held[] = [];
  /** What each gateway has not told yet, and the count of its connector. */
  private readonly outbox: Told[][] = Array.from({ length: GATEWAYS }, () => []);
  private readonly streams = Array.from({ length: GATEWAYS }, () => randomUUID());
  private readonly seqs = new Array<number>(GATEWAYS).fill(0);
  private steps = 0;

  constructor(
    readonly range: Range,
    readonly unit: RangeUnit,
    readonly genuine: Party,
  ) {}

  copyFlash(): void {
    this.thief = this.genuine.copy();
  }

  async take(step: Step): Promise<string> {
    this.steps += 1;
    switch (step.do) {
      case 'renew': {
        for (let lost = 0; lost < step.lostBefore && this.genuine.oracle.shown === null; lost += 1) {
          await this.renew(step, 'lost');
          this.range.clock.nowMs += step.minutesApart * 60_000;
        }
        return this.renew(step, step.answer);
      }
      case 'confirm':
        return this.party(step.by).confirm(this.range, step.answer, this.address('home'));
      case 'connect':
        return this.connect(this.party(step.by), step.gateway, step.from);
      case 'register':
        return this.register(this.party(step.by), step.stage);
      case 'disconnect':
        return this.disconnect(this.party(step.by), step.said);
      case 'power-cut':
        this.party(step.by).powerCut();
        return 'dark';
      case 'reboot':
        this.party(step.by).session = null;
        return this.connect(this.party(step.by), step.gateway, step.from);
      case 'rebind':
        return this.rebind(this.party(step.by), step.from);
      case 'replay':
        return this.replay(step);
      case 'show':
        return this.show(step);
      case 'deliver':
        return this.deliver(step.gateway, step.order);
      case 'probe':
        return this.probe();
      case 'wait':
        this.range.clock.nowMs += step.minutes * 60_000;
        return 'waited';
    }
  }

  private party(by: Actor): Party {
    return (by === 'thief' ? this.thief : null) ?? this.genuine;
  }

  private async renew({ by, proof }: Extract<Step, { do: 'renew' }>, answer: Answer): Promise<string> {
    const { outcome, recording } = await this.party(by).renew(this.range, proof, answer, this.address('home'));
    this.recordings.push(recording);
    return outcome;
  }

  private address(from: Place): string {
    switch (from) {
      case 'home':
        return addressOf(this.unit.homeFirst + 1 + (this.steps % 14));
      case 'cgnat':
        return `100.64.${this.steps % 250}.7`;
      case 'away':
        return AWAY_ADDRESS;
      case 'nowhere':
        return NOWHERE_ADDRESS;
    }
  }

  private async connect(party: Party, gateway: number, from: Place): Promise<string> {
    const { oracle, held } = party;
    const address = this.address(from);
    const verdict = await this.ask(held.record.der, { gateway, address, keyProved: true, stage: 'ike' });
    oracle.atGateway(held.key.hex, this.range.clock.nowMs);
    this.seen.push(held);
    if (!verdict.startsWith('permit')) return verdict;
    oracle.confirmed(held.key.hex, this.range.clock.nowMs);
    party.session = { gateway, spis: randomBytes(16), address };
    this.say(party, 'up');
    return verdict;
  }

  private async register(party: Party, stage: 'registration' | 'config'): Promise<string> {
    const { session, held } = party;
    if (session === null) return 'no session';
    return this.ask(held.record.der, { ...session, keyProved: false, stage });
  }

  private disconnect(party: Party, said: boolean): string {
    if (party.session === null) return 'no session';
    if (said) this.say(party, 'down');
    party.session = null;
    return said ? 'down' : 'gone without a word';
  }

  private rebind(party: Party, from: 'home' | 'cgnat'): string {
    if (party.session === null) return 'no session';
    party.session.address = this.address(from);
    this.say(party, 'rekey');
    return 'another address';
  }

  private say({ session }: Party, kind: Told['kind']): void {
    if (session === null) return;
    const { gateway, spis, address } = session;
    const seq = (this.seqs[gateway] ?? 0) + 1;
    this.seqs[gateway] = seq;
    this.outbox[gateway]?.push({
      seq,
      kind,
      session: spis,
      at: this.range.clock.now(),
      identity: this.unit.fqdn,
      address,
    });
  }

  private async ask(
    certificateDer: Buffer,
    how: { gateway: number; address: string; keyProved: boolean; stage: 'ike' | 'registration' | 'config' },
  ): Promise<string> {
    const { verdict, reasons } = await this.range.authorise(this.gateway(how.gateway), {
      stage: how.stage,
      certificateDer,
      identity: this.unit.fqdn,
      address: how.address,
      keyProved: how.keyProved,
      nonce: randomBytes(16).toString('hex'),
      ...(how.stage === 'registration' && { cell: this.unit.cell }),
    });
    return [verdict, ...reasons].join(' ');
  }

  private gateway(index: number) {
    const found = this.range.gateways[index];
    if (found === undefined) throw new Error(`no gateway ${index}`);
    return found;
  }

  /** No key is needed to send bytes again; a full handshake is out of reach, so nothing in it is fresh. */
  private async replay({ pick, bit, proof }: Extract<Step, { do: 'replay' }>): Promise<string> {
    const recording = this.recordings[pick % Math.max(1, this.recordings.length)];
    if (recording === undefined) return 'nothing was recorded';
    const { request, credential } = recording;
    const csr = turned(request.csr as Buffer, bit);
    const provedAt = proof === 'epoch' ? new Date(0) : credential.provedAt;
    return told(async () => {
      await this.range.rooms.renewal.renew({ ...request, csr, credential: { ...credential, provedAt } });
      return 'the stored answer';
    });
  }

  /** Where a bit is turned no key fits it, and no gateway gets as far as IKE AUTH. */
  private async show({ pick, bit, gateway, from }: Extract<Step, { do: 'show' }>): Promise<string> {
    const held = this.seen[pick % Math.max(1, this.seen.length)];
    if (held === undefined) return 'nothing was seen';
    const how = { gateway, address: this.address(from), keyProved: false, stage: 'ike' } as const;
    return told(() => this.ask(turned(held.record.der, bit), how));
  }

  private async deliver(gateway: number | null, order: 'as-is' | 'reversed' | 'twice'): Promise<string> {
    let told = 0;
    for (const index of gateway === null ? this.range.gateways.keys() : [gateway]) {
      const waiting = this.outbox[index]?.splice(0) ?? [];
      if (waiting.length === 0) continue;
      told += waiting.length;
      const events = order === 'reversed' ? waiting.toReversed() : waiting;
      const report = { stream: this.streams[index] ?? '', events };
      await this.range.desk.report(this.gateway(index), report);
      if (order === 'twice') await this.range.desk.report(this.gateway(index), report);
    }
    return told === 0 ? 'nothing to tell' : order;
  }

  /** After the grace: each gateway looks whether the session is there, and says what it sees. */
  private async probe(): Promise<string> {
    this.range.clock.nowMs += 6_000;
    const alive = [this.genuine.session, this.thief?.session ?? null].filter((session) => session !== null);
    let asked = 0;
    let state = 'nothing asked';
    for (const [index, gateway] of this.range.gateways.entries()) {
      for (const question of await this.range.desk.probes(gateway)) {
        if (!(await this.isAboutUnit(question.id))) continue;
        asked += 1;
        const isAlive = alive.some((session) => session.gateway === index && session.spis.equals(question.session));
        state = await told(() => this.range.desk.answerProbe(gateway, { ...question, alive: isAlive }));
      }
    }
    if (state === 'both-alive') this.genuine.oracle.show('two sessions in two places answered');
    return asked === 0 ? state : `${state} after ${asked}`;
  }

  /** Gateways serve many units, and other histories are played beside this one: their questions stay theirs. */
  private async isAboutUnit(probeId: string): Promise<boolean> {
    const { rows } = await this.range.core.transactor.read.query<{ mine: boolean }>(
      'SELECT unit_id = $2 AS mine FROM session_probe WHERE id = $1',
      [probeId, this.unit.id],
    );
    return rows[0]?.mine === true;
  }
}

function turned(bytes: Buffer, bit: number | null): Buffer {
  const copy = Buffer.from(bytes);
  if (bit !== null) copy[(bit >> 3) % copy.length] = (copy[(bit >> 3) % copy.length] ?? 0) ^ (1 << (bit & 7));
  return copy;
}
