/**
 * Asks so many questions a second, whatever the answers do, and tells how long they took: an open loop, so that a server that
 * stands still is seen by everybody who would have come meanwhile. argv[2]: JSON ProbeOrder; prints JSON ProbeResult.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { HttpLine } from './http-line.js';

export interface ProbeOrder {
  readonly port: number;
  readonly perSecond: number;
  readonly seconds: number;
  /** JSON: base64 each, whole HTTP requests, asked in turn. */
  readonly requestsFile: string;
}

export interface ProbeResult {
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** OCSPResponseStatus successful, ENUMERATED 0 (RFC 6960 section 4.2.1); it stands first. */
const SUCCESSFUL = Buffer.from('0a0100', 'hex');
const HEAD_BYTES = 8;

const { port, perSecond, seconds, requestsFile } = JSON.parse(process.argv[2] ?? '') as ProbeOrder;
const requests = (JSON.parse(readFileSync(requestsFile, 'utf8')) as string[]).map((one) => Buffer.from(one, 'base64'));
const idle: HttpLine[] = [];
const times: number[] = [];
let failed = 0;

async function ask(request: Buffer, dueAtMs: number): Promise<void> {
  const line = idle.pop() ?? new HttpLine(() => connect({ port, host: '127.0.0.1' }), 'connect');
  try {
    const { status, body } = await line.ask(request);
    if (status !== 200 || !body.subarray(0, HEAD_BYTES).includes(SUCCESSFUL)) failed += 1;
    idle.push(line);
  } catch {
    failed += 1;
    line.end();
  }
  times.push(performance.now() - dueAtMs);
}

const startMs = performance.now();
const asked: Promise<void>[] = [];
for (let index = 0; index < perSecond * seconds; index++) {
  const dueAtMs = startMs + (index * 1_000) / perSecond;
  await sleep(Math.max(0, dueAtMs - performance.now()));
  asked.push(ask(requests[index % requests.length] as Buffer, dueAtMs));
}
await Promise.all(asked);
for (const line of idle) line.end();
times.sort((a, b) => a - b);
const quantile = (share: number): number => times[Math.max(0, Math.ceil(times.length * share) - 1)] ?? 0;
const rounded = (ms: number): number => Math.round(ms * 100) / 100;
process.stdout.write(
  JSON.stringify({
    failed,
    p50Ms: rounded(quantile(0.5)),
    p99Ms: rounded(quantile(0.99)),
    maxMs: rounded(quantile(1)),
  } satisfies ProbeResult),
);
