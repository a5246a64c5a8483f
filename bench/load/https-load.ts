/**
 * Asks one HTTPS server over kept-alive mTLS connections with one request under way on each: as fast as it answers, or at
 * a rate, where a request that is due waits for a free connection and its time counts from when it was due. Orders come
 * over IPC, one at a time; the answer is an HttpsLoadResult. argv[2]: JSON file {"ca","cert","key"}.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { HttpLine } from './http-line.js';
import type { LoadOrder, LoadResult } from './http-load.js';

export interface HttpsLoadOrder extends LoadOrder {
  /** Absent = as fast as it answers. */
  readonly perSecond?: number;
  /** Every answer holds this. */
  readonly expected: string;
}

export interface HttpsLoadResult extends LoadResult {
  /** Milliseconds from due to answered. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const tls = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as { ca: string; cert: string; key: string };
const files = new Map<string, Buffer[]>();
const cursors = new Map<string, number>();

process.on('message', (order: HttpsLoadOrder) => void load(order).then((result) => process.send?.(result)));
process.on('disconnect', () => process.exit(0));

async function load(order: HttpsLoadOrder): Promise<HttpsLoadResult> {
  const { port, connections, seconds, perSecond, expected, requestsFile } = order;
  const requests = requestsOf(requestsFile);
  const held = Buffer.from(expected);
  const lines = Array.from({ length: connections }, () => lineTo(port));
  await Promise.all(lines.map((line) => line.ask(nextOf(requestsFile, requests)))); // connected, and known as callers
  const took: number[] = [];
  let failures = 0;
  let firstFailure = '';
  const ask = async (line: HttpLine, dueMs: number): Promise<void> => {
    const { status, head, body } = await line.ask(nextOf(requestsFile, requests));
    if (status >= 300 || !body.includes(held)) {
      failures += 1;
      firstFailure ||= `${head}${body.toString('latin1', 0, 300)}`;
    }
    took.push(performance.now() - dueMs);
  };
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  const cpuBefore = process.cpuUsage();
  let given = 0;
  /** Each connection takes the next request that is due. */
  const work = async (line: HttpLine): Promise<void> => {
    while (performance.now() < endMs) {
      const dueMs = perSecond === undefined ? performance.now() : startMs + (given * 1_000) / perSecond;
      given += 1;
      if (dueMs >= endMs) return;
      const early = dueMs - performance.now();
      if (early > 0) await sleep(early);
      await ask(line, dueMs);
    }
  };
  await Promise.all(lines.map(work));
  const spent = (performance.now() - startMs) / 1_000;
  const { user, system } = process.cpuUsage(cpuBefore);
  for (const line of lines) line.end();
  took.sort((a, b) => a - b);
  return {
    answers: took.length,
    seconds: spent,
    cpuSeconds: (user + system) / 1e6,
    failures,
    firstFailure,
    p50Ms: took[Math.floor(took.length * 0.5)] ?? Number.NaN,
    p99Ms: took[Math.floor(took.length * 0.99)] ?? Number.NaN,
  };
}

function lineTo(port: number): HttpLine {
  return new HttpLine(() => connect({ ...tls, port, host: '127.0.0.1', servername: 'localhost' }), 'secureConnect');
}

/** Goes on where the last order ended: no unit is asked about twice before all were. */
function nextOf(file: string, requests: readonly Buffer[]): Buffer {
  const at = cursors.get(file) ?? 0;
  cursors.set(file, at + 1 < requests.length ? at + 1 : 0);
  return requests[at] as Buffer;
}

function requestsOf(file: string): Buffer[] {
  let requests = files.get(file);
  if (!requests) {
    requests = (JSON.parse(readFileSync(file, 'utf8')) as string[]).map((text) => Buffer.from(text, 'base64'));
    files.set(file, requests);
  }
  return requests;
}
