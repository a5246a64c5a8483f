/**
 * Probes and metrics of one process, on a port of their own: /livez (the event loop turns), /readyz (each dependency with
 * its reason), /startupz (start-up is over), /metrics (Prometheus). No label names a device.
 */
import { createServer, type ServerResponse } from 'node:http';
import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { listen } from './listen.js';

/** Resolves with undefined when the dependency is well, else with the reason. A throw is a reason too. */
export type ReadinessCheck = () => Promise<string | undefined>;

export interface Probes {
  readonly registry: Registry;
  readonly port: number;
  /** Adds a dependency to /readyz. */
  addCheck(name: string, check: ReadinessCheck): void;
  /** Start-up is over: /startupz and, with its checks, /readyz turn 200. */
  markStarted(): void;
  /** SIGTERM came: /readyz is 503 from now on, so that balancers look elsewhere while requests drain. */
  markDraining(): void;
  close(): Promise<void>;
}

/** A dependency that does not answer is not ready; the probe itself must answer within its caller's patience. */
const CHECK_TIMEOUT_MS = 2_000;

export async function startProbes(options: {
  readonly name: string;
  readonly version: string;
  readonly host: string;
  readonly port: number;
  /** The config's name of the port, for the sentence when it is taken. */
  readonly setting: string;
}): Promise<Probes> {
  const registry = new Registry();
  registry.setDefaultLabels({ process: options.name });
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'femtopki_build_info',
    help: 'Always 1; the labels say what runs.',
    labelNames: ['version', 'node'],
    registers: [registry],
  }).set({ version: options.version, node: process.versions.node }, 1);

  const checks = new Map<string, ReadinessCheck>();
  let started = false;
  let draining = false;

  const readiness = async (): Promise<{ ready: boolean; checks: Record<string, string> }> => {
    const entries = await Promise.all(
      [...checks].map(async ([name, check]) => [name, (await within(check)) ?? 'ok'] as const),
    );
    const ready = started && !draining && entries.every(([, state]) => state === 'ok');
    const phase = draining ? 'draining' : started ? 'ok' : 'starting';
    return { ready, checks: { process: phase, ...Object.fromEntries(entries) } };
  };

  const answer = async (url: string | undefined, response: ServerResponse): Promise<void> => {
    if (url === '/livez') return json(response, 200, { live: true });
    if (url === '/startupz') return json(response, started ? 200 : 503, { started });
    if (url === '/readyz') {
      const state = await readiness();
      return json(response, state.ready ? 200 : 503, state);
    }
    if (url === '/metrics') {
      response.writeHead(200, { 'content-type': registry.contentType }).end(await registry.metrics());
      return;
    }
    json(response, 404, { code: 'NOT_FOUND', message: 'This port answers /livez, /readyz, /startupz and /metrics.' });
  };

  const server = createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return json(response, 405, { code: 'BAD_REQUEST', message: 'Use GET.' });
    answer(request.url, response).catch((error: Error) =>
      json(response, 500, { code: 'INTERNAL', message: error.name }),
    );
  });
  server.requestTimeout = 5_000;
  const listening = await listen(server, { host: options.host, port: options.port }, options.setting);
  return {
    registry,
    port: listening.port,
    addCheck: (name, check) => void checks.set(name, check),
    markStarted: () => {
      started = true;
    },
    markDraining: () => {
      draining = true;
    },
    close: () => listening.close(500),
  };
}

async function within(check: ReadinessCheck): Promise<string | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<string>((done) => {
    timer = setTimeout(() => done(`no answer within ${CHECK_TIMEOUT_MS} ms`), CHECK_TIMEOUT_MS);
  });
  try {
    return await Promise.race([check(), late]);
  } catch (error) {
    return (error as Error).message || 'failed';
  } finally {
    clearTimeout(timer);
  }
}

function json(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent) return void response.end();
  response
    .writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    .end(`${JSON.stringify(body)}\n`);
}
