/** The addresses of the lab on a map: the operator's own network, a rival's, a foreign one; and what is let in from where. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { World } from '../../src/apps/story/world.js';
import { ASNS, COUNTRIES, mmdb } from '../support/mmdb.js';

/** Another operator's network, and another country's. */
export const [RIVAL, FOREIGN] = ['203.0.113.66', '203.0.113.166'];

const RULES = {
  rules: [
    { name: 'other-networks', action: 'deny', asn: 'any' },
    { name: 'own-network', action: 'allow', asn: 64_496 },
    { name: 'abroad', action: 'deny', country: 'any' },
    { name: 'home', action: 'allow', country: 'KR' },
    { name: 'lab', action: 'allow', cidr: '192.0.2.0/24' },
    // The factory's station, and the units while they are made ready.
    { name: 'this-host', action: 'allow', cidr: '127.0.0.0/8' },
    { name: 'this-host-6', action: 'allow', cidr: '::1/128' },
  ],
};

/** Settings of an installation that knows the map. */
export function mapIn(dir: string): { network: { asnDatabaseFile: string; countryDatabaseFile: string } } {
  const network = { asnDatabaseFile: join(dir, 'asn.mmdb'), countryDatabaseFile: join(dir, 'country.mmdb') };
  writeFileSync(network.asnDatabaseFile, mmdb(ASNS, { type: 'GeoLite2-ASN', builtAt: new Date() }));
  writeFileSync(network.countryDatabaseFile, mmdb(COUNTRIES, { type: 'GeoLite2-Country', builtAt: new Date() }));
  return { network };
}

export async function letInHomeOnly(world: World): Promise<void> {
  world.write('rules.yaml', JSON.stringify(RULES));
  const reason = ['--reason', 'the lab'];
  const { version } = await world.cli(['network-policy', 'propose', '--file', world.path('rules.yaml'), ...reason]);
  await world.cli(['network-policy', 'activate', String(version), ...reason]);
}
