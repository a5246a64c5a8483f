import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { Core } from '../../src/apps/wire-core.js';
import { wireIssuance } from '../../src/apps/wire-issuance.js';
import type { Signer } from '../../src/platform/signer.js';
import { readSpki } from '../../src/x509/spki.js';
import { operational } from '../../test/support/issuance-world.js';
import type { UnitSeed } from '../servers/renewal-ports.js';

export interface ReturningSeed {
  readonly count: number;
  readonly realm: string;
  /** Of the n-th unit's certificate. */
  readonly lifeSecondsOf: (n: number) => number;
  readonly regions: number;
}

const AT_ONCE = 256;

/** Units in service, each on a line of its own in some region, with certificates that issuance makes one batch after another. */
export async function seedReturning(core: Core, signer: Signer, seed: ReturningSeed): Promise<UnitSeed[]> {
  const { transactor } = core;
  const issuance = wireIssuance(core, {
    signer,
    operator: 'Hanbit Mobile',
    statusUrl: 'http://127.0.0.1:8080',
    alarm: (what) => process.stderr.write(`${what}\n`),
    ledgerBacklogSeconds: async () => 0,
  });
  await transactor.read.query(
    `INSERT INTO maker (name, manifest_key_spki, eui_prefixes, created_at) VALUES ('returning', '\\x00', '{02}', now())`,
  );
  await transactor.read.query(
    `INSERT INTO batch (maker_id, name, model, firmware_sha256, state, manifest_sha256, manifest_jws, unit_count, submitted_at)
     SELECT id, 'returning', 'FC-1', 'ff', 'open', '\\x00', 'x', $1, now() FROM maker WHERE name = 'returning'`,
    [seed.count],
  );
  const seeds: UnitSeed[] = [];
  for (let from = 1; from <= seed.count; from += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, seed.count - from + 1) }, (_none, index) => from + index);
    const units = await addUnits(core, numbers, seed);
    const pairs = units.map(() => generateKeyPairSync('ec', { namedCurve: 'P-256' }));
    const outcomes = await issuance.issueMany(
      units.map((unit, index) => {
        const spki = readSpki(spkiOf(pairs[index]?.publicKey));
        return operational(unit, { spki, lifeSeconds: seed.lifeSecondsOf(from + index) });
      }),
    );
    for (const [index, outcome] of outcomes.entries()) {
      if (!outcome.ok) throw outcome.error;
      const key = pairs[index]?.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() ?? '';
      seeds.push({ fqdn: units[index]?.fqdn ?? '', certificate: outcome.certificate.der.toString('base64'), key });
    }
  }
  await issuance.close();
  return seeds;
}

async function addUnits({ transactor }: Core, numbers: readonly number[], { realm, regions }: ReturningSeed) {
  await transactor.read.query(
    `INSERT INTO line (name, region) SELECT 'returning-' || n, 'region-' || n % $2 FROM unnest($1::int[]) n`,
    [numbers, regions],
  );
  const { rows } = await transactor.read.query<{
    id: number;
    serialNumber: string;
    fqdn: string;
    revocationEpoch: number;
  }>(
    `INSERT INTO unit (maker_id, batch_id, serial_number, eui, hardware_id, fqdn, model, state, state_changed_at, line_id, last_contact_at)
     SELECT b.maker_id, b.id, 'RET-' || n, '02' || lpad(to_hex(n), 10, '0'), 'RET-' || n, '02' || lpad(to_hex(n), 10, '0') || '.' || $2,
       'FC-1', 'ACTIVE', now(), l.id, now()
     FROM unnest($1::int[]) n JOIN line l ON l.name = 'returning-' || n, batch b WHERE b.name = 'returning' ORDER BY n
     RETURNING id, serial_number AS "serialNumber", fqdn, revocation_epoch AS "revocationEpoch"`,
    [numbers, realm],
  );
  return rows;
}

function spkiOf(key: KeyObject | undefined): Buffer {
  return key?.export({ type: 'spki', format: 'der' }) ?? Buffer.alloc(0);
}
