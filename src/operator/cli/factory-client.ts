import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { FemtoError } from '../../platform/errors.js';
import type { EnrolRequest } from './enrol-requests.js';

/** One row as the server answers it; `certificate` and `chain` where it was issued. */
export interface EnrolResult {
  readonly serialNumber: string;
  readonly status: number;
  readonly certificate?: string;
  readonly chain?: string;
  readonly notAfter?: string;
  readonly repeated?: boolean;
  readonly code?: string;
  readonly detail?: string;
  readonly traceId?: string;
}

export interface StationFiles {
  readonly cert: string;
  readonly key: string;
  /** Services Root. */
  readonly ca: string;
}

export interface FactoryClient {
  /**
   * Sends one call and hands over each row's result as it arrives. Resolves with the requests that have none: the answer was
   * cut, or the server told to come again. Sending those again is safe: a key that was certified gets its certificate.
   *
   * @throws FemtoError what the server refuses the call for
   */
  enrol(requests: readonly EnrolRequest[], onResult: (result: EnrolResult) => void): Promise<EnrolRequest[]>;
  close(): void;
}

const IDLE_TIMEOUT_MS = 60_000;

/** @param server  base URL of enrol-server, e.g. `https://enrol.hanbit.example:8443` */
export function factoryClient(server: string, files: StationFiles): FactoryClient {
  const agent = new Agent({
    cert: readFileSync(files.cert),
    key: readFileSync(files.key),
    ca: readFileSync(files.ca),
    keepAlive: true,
    maxSockets: 1,
  });
  return {
    enrol: async (requests, onResult) => {
      const left = new Map(requests.map((one) => [one.serialNumber, one]));
      const chains = new Map<string, string>();
      for await (const line of answerLines(agent, `${server.replace(/\/$/, '')}/v1/factory/enrol/bulk`, requests)) {
        if (typeof line['chain'] === 'string') chains.set(String(line['issuer']), line['chain']);
        if (typeof line['serialNumber'] !== 'string') continue;
        const result = { ...line, chain: chains.get(String(line['issuer'])) } as unknown as EnrolResult;
        if (COME_AGAIN.has(result.status)) continue;
        left.delete(result.serialNumber);
        onResult(result);
      }
      return [...left.values()];
    },
    close: () => agent.destroy(),
  };
}

const COME_AGAIN: ReadonlySet<number> = new Set([429, 500, 503]);

async function* answerLines(
  agent: Agent,
  url: string,
  requests: readonly EnrolRequest[],
): AsyncIterable<Record<string, unknown>> {
  const body = requests.map(({ serialNumber, csr }) => `${JSON.stringify({ serialNumber, csr })}\n`).join('');
  const response = await new Promise<import('node:http').IncomingMessage>((done, fail) => {
    const headers = { 'content-type': 'application/x-ndjson', 'content-length': Buffer.byteLength(body) };
    request(url, { method: 'POST', agent, headers, timeout: IDLE_TIMEOUT_MS })
      .once('response', done)
      .once('timeout', function onTimeout(this: import('node:http').ClientRequest) {
        this.destroy(new Error('no answer for a minute'));
      })
      .once('error', (error: NodeJS.ErrnoException) => fail(faultOf(error, url)))
      .end(body);
  });
  if (response.statusCode !== 200) throw await refusalOf(response);
  // A cut answer ends the lines; whoever asked sees which rows are missing.
  for await (const line of createInterface({ input: response.once('error', () => undefined) })) {
    yield JSON.parse(line) as Record<string, unknown>;
  }
}

/** Only what may be over in a moment is tried again. */
function faultOf(error: NodeJS.ErrnoException, url: string): FemtoError {
  const mayPass = error.code === undefined || PASSING.has(error.code);
  if (mayPass) return new FemtoError('RETRY_LATER', `No answer from ${url} (${error.message}).`, { cause: error });
  const sentence = `The TLS connection to ${url} is refused (${error.message}); check --ca, --cert, --key and the host name.`;
  return new FemtoError('DENIED', sentence, { cause: error });
}

const PASSING: ReadonlySet<string> = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EAI_AGAIN', 'ENETUNREACH', 'EHOSTUNREACH', 'ENOTFOUND'],
]);

async function refusalOf(response: import('node:http').IncomingMessage): Promise<FemtoError> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const text = Buffer.concat(chunks).toString('utf8');
  const problem = (text.startsWith('{') ? JSON.parse(text) : {}) as {
    code?: string;
    detail?: string;
    traceId?: string;
  };
  const sentence = `${problem.detail ?? `The server answered ${response.statusCode}.`} (trace ${problem.traceId ?? 'none'})`;
  const comeAgain = COME_AGAIN.has(response.statusCode ?? 0);
  return new FemtoError(comeAgain ? 'RETRY_LATER' : 'DENIED', `${problem.code ?? ''}: ${sentence}`, {
    facts: { status: response.statusCode ?? 0 },
    ...(comeAgain && { retryAfterSeconds: Number(response.headers['retry-after'] ?? 5) }),
  });
}

/** Waits 1, 2, 4 … seconds between the tries of one call. */
export function waitBeforeTry(tries: number): Promise<void> {
  return pause(Math.min(30_000, 500 * 2 ** tries)).then(() => undefined);
}
