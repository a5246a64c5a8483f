/**
 * The signer: starts one process per key class, lets them log in one after another, and replaces one that hangs.
 * Reachable by: enrol-, status-server and worker over unix sockets (one a role), from other hosts over one mTLS port. Signs with: nothing itself; its class
 * processes use the online token. Writes: nothing; its class processes write the signer's state directory.
 *
 *   node dist/apps/signer.js [--config femtopki.yaml] [--data DIR]   probes on metrics.signer of the configuration
 *   node dist/apps/signer.js --signer-config FILE                    on a signer's own host; [--metrics-port N]
 */
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import { loadConfig } from '../platform/config/config.js';
import { asFemtoError } from '../platform/errors.js';
import { KEY_CLASSES } from '../platform/hsm/key-class.js';
import { readSignerConfig, signerConfigPath } from '../platform/hsm/signer-config.js';
import { listenForHosts } from '../platform/hsm/signer-port.js';
import { holdSingleInstance } from '../platform/hsm/single-instance.js';
import { prepareSocketsDir } from '../platform/hsm/socket-path.js';
import { runSignerClass } from './signer-class.js';
import { type Listener, SignerParent, serveMetrics } from './signer-parent.js';

/** The signer's host may have no femtopki.yaml at all: its own file is enough. */
function places(values: {
  config?: string | undefined;
  data?: string | undefined;
  'signer-config'?: string | undefined;
  'metrics-port'?: string | undefined;
}): { configPath: string; metrics: Listener | undefined } {
  const own = values['signer-config'];
  const port = values['metrics-port'];
  if (own) return { configPath: own, metrics: port ? { host: '127.0.0.1', port: Number(port) } : undefined };
  if (values.data && port) {
    return { configPath: signerConfigPath(values.data), metrics: { host: '127.0.0.1', port: Number(port) } };
  }
  const config = loadConfig({ configFile: values.config, dataDir: values.data });
  const { host, signer } = config.metrics;
  return { configPath: signerConfigPath(config.dataDir), metrics: { host, port: port ? Number(port) : signer } };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      config: { type: 'string' },
      data: { type: 'string' },
      'signer-config': { type: 'string' },
      'metrics-port': { type: 'string' },
      class: { type: 'string' },
    },
  });
  const { configPath, metrics } = places(values);
  const keyClass = KEY_CLASSES.find((known) => known === values.class);
  if (keyClass) return runSignerClass(keyClass, configPath);

  const log = pino({ base: { app: 'signer' } }, pino.destination({ dest: 2, sync: true }));
  const config = readSignerConfig(configPath);
  if (config.clockSkewSeconds > 600) {
    log.warn(
      { clockSkewSeconds: config.clockSkewSeconds },
      'clockSkewSeconds is wide: fit for tests with moved clocks only',
    );
  }
  const lock = await holdSingleInstance(prepareSocketsDir(config.runDir));
  lock.unref();
  const parent = new SignerParent(fileURLToPath(import.meta.url), configPath, log);
  if (metrics) serveMetrics(metrics, parent, log);
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void parent.stop(0));
  // A supervisor that was killed cannot send a signal; its closed channel is one. Never fires when started alone.
  process.once('disconnect', () => void parent.stop(0));
  if (config.listen) {
    await listenForHosts(config.listen, config.runDir, (why, facts) => log.warn(facts, why));
    log.info({ host: config.listen.host, port: config.listen.port }, 'listening for servers on other hosts');
  }
  parent.start();
}

main().catch((thrown: unknown) => {
  process.stderr.write(`signer: ${asFemtoError(thrown).message}\n`);
  process.exit(1);
});
