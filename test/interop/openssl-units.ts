/** Units before `openssl cmp`, whichever credential they begin with, and what the record says of them. */
import { readFileSync } from 'node:fs';
import type { CmpWorld } from '../support/cmp-world.js';
import type { WorldUnit } from '../support/device-world.js';

export interface OpensslUnits {
  /** A unit that has a secret where others have a bootstrap certificate; its model must allow that. */
  secretUnit(): Promise<{ unit: WorldUnit; reference: string; secret: string }>;
  /** `<generation> <state>` of each slot of the lineage. */
  slots(unit: WorldUnit): Promise<string[]>;
  stateOf(unit: WorldUnit): Promise<string | undefined>;
}

export function opensslUnits({ world, first }: Pick<CmpWorld, 'world' | 'first'>): OpensslUnits {
  const { pool } = world.db;
  return {
    secretUnit: async () => {
      const unit = await world.addUnit({ state: 'MANIFESTED' });
      for (const table of ['key_seen', 'certificate']) {
        await pool.query(`DELETE FROM ${table} WHERE unit_id = $1`, [unit.id]);
      }
      const { reference, secret } = await first.factory.createMacSecret({ unitId: unit.id, actor: 'person:kim' });
      return { unit, reference, secret };
    },
    slots: async ({ id }) => {
      const { rows } = await pool.query<{ text: string }>(
        `SELECT generation || ' ' || state AS text FROM lineage_slot WHERE unit_id = $1 ORDER BY generation, id`,
        [id],
      );
      return rows.map(({ text }) => text);
    },
    stateOf: async ({ id }) => {
      const { rows } = await pool.query<{ state: string }>('SELECT state FROM unit WHERE id = $1', [id]);
      return rows[0]?.state;
    },
  };
}

/** The one certificate in a PEM file, DER. */
export function derOf(pemFile: string): Buffer {
  return Buffer.from(readFileSync(pemFile, 'utf8').replaceAll(/-----[^-]+-----|\s/g, ''), 'base64');
}
