import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  type Config,
  type ConfigSource,
  loadConfig,
  printableConfig,
  serializeConfig,
} from '../../../../src/platform/config/config.js';
import { settingsOf } from '../../../../src/platform/config/environment.js';
import { configSchema } from '../../../../src/platform/config/schema.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-config-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const load = (source: ConfigSource): Config => loadConfig({ env: {}, dataDir: dir, ...source });
function faultsOf(source: ConfigSource): string {
  try {
    load(source);
  } catch (error) {
    return (error as Error).message;
  }
  return 'accepted';
}

describe('configuration', () => {
  test('an empty installation gets the documented defaults on loopback', () => {
    const config = load({});
    expect(config).toMatchObject({
      mode: 'demo',
      operator: 'Hanbit Mobile',
      realm: 'femto.hanbit.example',
      dataDir: dir,
    });
    expect(config.listen).toMatchObject({
      enrol: { host: '127.0.0.1', port: 8443 },
      cmp: { host: '127.0.0.1', port: 8081 },
      status: { port: 8080 },
      gateway: { port: 8444 },
      operator: { port: 8090 },
    });
    expect(config.publicUrls).toEqual({
      enrol: 'https://127.0.0.1:8443',
      cmp: 'http://127.0.0.1:8081',
      status: 'http://127.0.0.1:8080',
      gateway: 'https://127.0.0.1:8444',
      operator: 'http://127.0.0.1:8090',
    });
    expect(config.lives.operationalSeconds).toBe(604_800);
  });

  test('environment wins over file, overrides over environment, and --data over all', () => {
    writeFileSync(
      join(dir, 'femtopki.yaml'),
      'operator: From File\nrealm: file.example\nlisten: { status: { port: 1001 }, enrol: { port: 1002 } }\ndataDir: /elsewhere\n',
    );
    const env = { FEMTOPKI_OPERATOR: 'From Environment', FEMTOPKI_LISTEN_STATUS_PORT: '2001' };
    const config = load({ env, overrides: { operator: 'From Override' } });
    expect(config).toMatchObject({ operator: 'From Override', realm: 'file.example', dataDir: dir });
    expect(config.listen.status.port).toBe(2001);
    expect(config.listen.enrol.port).toBe(1002);
  });

  test('all faults are named at once, each with its variable and an example', () => {
    writeFileSync(join(dir, 'femtopki.yaml'), 'realm: NoDots\nlisten: { enrol: { prot: 8443 } }\nmodus: demo\n');
    const message = faultsOf({
      env: { FEMTOPKI_LISTEN_STATUS_PORT: 'eighty', FEMTOPKI_REALMS: 'x', DATABASE_URL: 'mysql://x' },
    });
    expect(message).toContain(
      'realm (FEMTOPKI_REALM): must be a lower-case DNS name with at least two labels, for example "femto.hanbit.example"',
    );
    expect(message).toContain('listen.enrol.prot is no setting of femtopki');
    expect(message).toContain('modus is no setting of femtopki');
    expect(message).toMatch(/listen\.status\.port \(FEMTOPKI_LISTEN_STATUS_PORT\): .*, for example 8080/);
    expect(message).toContain('FEMTOPKI_REALMS is no setting of femtopki');
    expect(message).toContain('databaseUrl (DATABASE_URL): must be a postgresql URL');
  });

  test('a secret may come by file, but not by file and value at once', () => {
    const file = join(dir, 'url');
    writeFileSync(file, 'postgresql://femtopki:s3cret@db.example/femtopki\n');
    expect(load({ env: { DATABASE_URL_FILE: file } }).databaseUrl).toBe(
      'postgresql://femtopki:s3cret@db.example/femtopki',
    );
    expect(faultsOf({ env: { DATABASE_URL_FILE: file, DATABASE_URL: 'postgresql://x/y' } })).toContain('both set');
    expect(faultsOf({ env: { DATABASE_URL_FILE: join(dir, 'missing') } })).toContain('ENOENT');
  });

  test('relations between fields are checked before anything starts', () => {
    expect(faultsOf({ overrides: { listen: { operator: { host: '0.0.0.0' } } } })).toContain(
      'without TLS would send sign-ins in the clear',
    );
    expect(faultsOf({ overrides: { listen: { status: { port: 8443 } } } })).toContain(
      'listen.status.port and listen.enrol.port are both 127.0.0.1:8443',
    );
    expect(faultsOf({ env: { FEMTOPKI_LISTEN_CMP_PORT: '8080' } })).toContain(
      'listen.status.port and listen.cmp.port are both 127.0.0.1:8080',
    );
    expect(faultsOf({ overrides: { status: { crlSeconds: 3_600 } } })).toContain('at most half');
    expect(faultsOf({ overrides: { lives: { operationalSeconds: 32 * 86_400 } } })).toContain(
      'lives.operationalSeconds',
    );
    expect(faultsOf({ overrides: { renewal: { dueAtFraction: 0.75, jitterFraction: 0.2 } } })).toContain(
      'must be at most 0.85',
    );
    const store = (crlStore: object) => faultsOf({ overrides: { status: { crlStore } } });
    const credentialsFile = '/etc/femtopki/crl-store.json';
    expect(store({ url: 'https://s3.example/crls' })).toContain('set both or neither');
    expect(store({ url: 'http://s3.example/crls', credentialsFile })).toContain('status.crlStore.url must be https');
    for (const url of ['https://id:key@s3.example/crls', 'https://s3.example/crls?key=1', 'https://s3.example/a%20b'])
      expect(store({ url, credentialsFile })).toContain('without a key or a query');
    const production = faultsOf({ overrides: { mode: 'production' } });
    expect(production).toContain('DATABASE_URL');
    expect(production).toContain('publicUrls.gateway');
    // Nothing that is written into a certificate depends on it.
    expect(production).not.toContain('publicUrls.cmp');
  });

  test('what a supervisor hands to its children reads back equal', () => {
    const config = load({
      overrides: {
        databaseUrl: 'postgresql://femtopki@localhost/femtopki?host=%2Frun',
        trustedProxies: ['10.0.0.0/8'],
      },
    });
    const file = join(dir, 'effective.yaml');
    writeFileSync(file, serializeConfig(config));
    expect(loadConfig({ configFile: file, env: {} })).toEqual(config);
  });

  test('printing blots passwords out of URLs', () => {
    const text = printableConfig(
      load({
        overrides: {
          databaseUrl: 'postgresql://femtopki:s3cret@db.example/femtopki',
          status: { replicaUrl: 'postgresql://reader:s3cret@replica.example/femtopki' },
        },
      }),
    );
    expect(text).toContain('postgresql://femtopki:***@db.example/femtopki');
    expect(text).toContain('postgresql://reader:***@replica.example/femtopki');
    expect(text).not.toContain('s3cret');
  });

  test('every setting has a variable of its own and an example', () => {
    const settings = settingsOf(configSchema);
    expect(new Set(settings.map(({ variable }) => variable)).size).toBe(settings.length);
    expect(
      settings
        .filter(({ example, path }) => example === undefined && path.length > 0)
        .map(({ path }) => path.join('.')),
    ).toEqual([]);
  });
});
