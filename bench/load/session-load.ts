/**
 * A gateway that tells of its sessions over kept-alive mTLS, as fast as its reports are taken: each line is a start of a
 * connector, with a stream and units of its own. A report holds new events in no order, and some that were told before.
 * Message {port, requestsFile, lines, seconds} → SessionLoadResult. argv[2]: JSON file {"ca","cert","key"}.
 */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { connect } from 'node:tls';
import { HttpLine } from './http-line.js';

export interface SessionLoadOrder {
  readonly port: number;
  /** Requests of the port's `/v1/authorise`, base64: they name the units and their addresses. */
  readonly requestsFile: string;
  readonly lines: number;
  readonly seconds: number;
}

export interface SessionLoadResult {
  readonly accepted: number;
  readonly repeated: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  /** Answers that did not take what they should have; with the first of them. */
  readonly failures: number;
  readonly firstFailure: string;
  /** Sessions that were told to be up, and of those the ones that ended. */
  readonly sessions: number;
  readonly ended: number;
}

/** A report has as many events as it may. */
const NEW_EVENTS = 900;
const REPEATS = 100;

interface Unit {
  readonly identity: string;
  readonly address: string;
}

const tls = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as { ca: string; cert: string; key: string };

process.on('message', (order: SessionLoadOrder) => void load(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit(0));

async function load({ port, requestsFile, lines, seconds }: SessionLoadOrder): Promise<SessionLoadResult> {
  const units = unitsOf(requestsFile);
  const tellers = Array.from({ length: lines }, (_, line) => new Teller(units.filter((_, at) => at % lines === line)));
  const sum = { accepted: 0, repeated: 0, failures: 0 };
  let firstFailure = '';
  const startMs = performance.now();
  const before = process.cpuUsage();
  const tell = async (teller: Teller): Promise<void> => {
    const line = new HttpLine(
      () => connect({ ...tls, port, host: '127.0.0.1', servername: 'localhost' }),
      'secureConnect',
    );
    // Twice at least: only then is there something to repeat.
    for (let told = 0; told < 2 || performance.now() < startMs + seconds * 1_000; told += 1) {
      const { request, fresh, repeats } = teller.report();
      const { status, body } = await line.ask(request);
      const answer = body.toString();
      const { accepted = 0, repeated = 0 } = status === 200 ? (JSON.parse(answer) as Partial<SessionLoadResult>) : {};
      sum.accepted += accepted;
      sum.repeated += repeated;
      if (accepted === fresh && repeated === repeats && answer.includes('"missing":[]')) continue;
      sum.failures += 1;
      firstFailure ||= `${status} ${answer.slice(0, 300)}`;
    }
    line.end();
  };
  await Promise.all(tellers.map(tell));
  const { user, system } = process.cpuUsage(before);
  return {
    ...sum,
    firstFailure,
    seconds: (performance.now() - startMs) / 1_000,
    cpuSeconds: (user + system) / 1e6,
    sessions: tellers.reduce((all, { sessions }) => all + sessions, 0),
    ended: tellers.reduce((all, { ended }) => all + ended, 0),
  };
}

/** Each of its units comes up and goes down again, over and over, with other SPIs each time. */
class Teller {
  sessions = 0;
  ended = 0;
  private readonly stream = randomUUID();
  private seq = 0;
  private last: readonly string[] = [];
  private readonly units: readonly Unit[];

  constructor(units: readonly Unit[]) {
    this.units = units;
  }

  report(): { request: Buffer; fresh: number; repeats: number } {
    const at = new Date().toISOString();
    const fresh = Array.from({ length: NEW_EVENTS }, () => this.event(at));
    const repeats = this.last.slice(0, REPEATS);
    this.last = fresh;
    const body = `{"stream":"${this.stream}","events":[${shuffled([...fresh, ...repeats]).join()}]}`;
    const head = `POST /v1/session-events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n`;
    return { request: Buffer.from(head + body), fresh: fresh.length, repeats: repeats.length };
  }

  private event(at: string): string {
    const round = Math.floor(this.seq / this.units.length);
    const { identity, address } = this.units[this.seq % this.units.length] as Unit;
    const isUp = round % 2 === 0;
    // Named by the stream, the unit and how often it came up.
    const spis = `${this.stream.slice(0, 8)}${hex(round >> 1, 8)}${hex(this.seq % this.units.length, 16)}`;
    if (isUp) this.sessions += 1;
    else this.ended += 1;
    this.seq += 1;
    return JSON.stringify({ seq: this.seq, kind: isUp ? 'up' : 'down', session: spis, at, identity, address });
  }
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}

/** By a walk whose step shares no factor with the length: far from sorted, and cheap. */
function shuffled<T>(items: readonly T[]): T[] {
  const step = items.length % 7 === 0 ? 11 : 7;
  return items.map((_, at) => items[(at * step) % items.length] as T);
}

function unitsOf(requestsFile: string): Unit[] {
  return (JSON.parse(readFileSync(requestsFile, 'utf8')) as string[]).map((text) => {
    const whole = Buffer.from(text, 'base64').toString();
    const { identity, address } = JSON.parse(whole.slice(whole.indexOf('\r\n\r\n') + 4)) as Unit;
    return { identity, address };
  });
}
