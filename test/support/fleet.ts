/** Units made at a factory the production way: signed manifest, accepted batch, credential, requests by openssl. */
import { createPrivateKey, randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CompactSign } from 'jose';
import { makeRequest } from '../../src/apps/story/unit-tools.js';
import { EUI_PREFIX, MAKER, type World } from '../../src/apps/story/world.js';

export interface FleetUnit {
  readonly serialNumber: string;
  readonly fqdn: string;
  /** `<name>.pem` and `<name>.key` in the world's directory are its factory identity. */
  readonly name: string;
  /** Its activation code, for a line of its own. */
  readonly code: string;
}

const STATION = 'garam-station-1';
/** Each CLI call is a Node process: more at once only wait for each other. */
const AT_ONCE = 4;

/** Needs the story told until `machines`. Every unit is BOOTSTRAPPED and has an open grant afterwards. */
export async function makeFleet(world: World, count: number): Promise<FleetUnit[]> {
  const realm = world.fqdn.split('.').slice(1).join('.');
  const first = randomInt(0xa00000, 0xf00000);
  const batch = `F-${first.toString(16)}`;
  const units = Array.from({ length: count }, (_none, at) => {
    const eui = `${EUI_PREFIX}${(first + at).toString(16)}`;
    return { serialNumber: `SHB-${eui.toUpperCase()}`, eui, fqdn: `${eui}.${realm}`, name: `fleet-${at}` };
  });
  await submitManifest(world, batch, units);
  const batches = (await world.cli(['batch', 'list'])) as unknown as { id: number; name: string }[];
  await world.cli(['batch', 'accept', String(batches.find(({ name }) => name === batch)?.id)]);
  await world.cli([
    ...['factory-credential', 'add', `cred-${batch.toLowerCase()}`, '--maker', MAKER, '--batch', batch],
    ...['--site', 'pyeongtaek', '--cidr', '127.0.0.0/8', '::1/128', '--station', STATION, '--hours', '12'],
  ]);
  return inTurns(units, async ({ serialNumber, fqdn, name }) => {
    await makeRequest(world, name, { commonName: fqdn });
    const answer = await world.curl(`${world.enrolUrl}/v1/factory/enrol`, {
      as: STATION,
      body: { serialNumber, csr: world.read(`${name}.csr`) },
    });
    if (answer.status >= 300) throw new Error(`${serialNumber}: ${answer.status} ${answer.text}`);
    world.write(`${name}.pem`, String(answer.json['certificate']));
    await world.context.pool.query('INSERT INTO line (name) VALUES ($1)', [`L-${serialNumber}`]);
    const grant = await world.cli(['grant', 'create', serialNumber, '--line', `L-${serialNumber}`]);
    return { serialNumber, fqdn, name, code: String(grant['code']) };
  });
}

async function submitManifest(
  world: World,
  batch: string,
  units: readonly { serialNumber: string; eui: string }[],
): Promise<void> {
  const payload = {
    maker: MAKER,
    batch,
    model: 'FC-200',
    firmwareSha256: 'a3'.repeat(32),
    units: units.map(({ serialNumber, eui }) => ({
      serialNumber,
      eui,
      hardwareId: `HW-${eui}`,
      productClass: 'FC200',
    })),
    createdAt: new Date().toISOString(),
    nonce: batch.repeat(3),
  };
  const jws = await new CompactSign(Buffer.from(JSON.stringify(payload)))
    .setProtectedHeader({ alg: 'ES256' })
    .sign(createPrivateKey(readFileSync(join(world.sharedDir, 'garam.key'))));
  world.write(`${batch}.jws`, jws);
  const answer = await world.curl(`${world.enrolUrl}/v1/factory/manifests`, {
    as: STATION,
    raw: { file: `${batch}.jws`, type: 'application/jose' },
  });
  if (answer.status >= 300) throw new Error(`manifest: ${answer.status} ${answer.text}`);
}

async function inTurns<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array(items.length);
  const queue = [...items.entries()];
  const turn = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) results[next[0]] = await work(next[1]);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, turn));
  return results;
}
