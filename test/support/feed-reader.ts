/** A gateway's side of the feed, and things for it to hear of. */
import { expect } from '@jest/globals';
import { compactVerify, importX509 } from 'jose';
import type { AckStage } from '../../src/lifecycle/feed/index.js';
import type { LedgerEntry } from '../../src/platform/ledger/ledger.js';
import { ledger } from '../../src/platform/ledger/ledger.pg.js';
import type { CurlAnswer, CurlCredential } from './curl-unit.js';
import type { WorldUnit } from './device-world.js';
import type { GatewayWorld } from './gateway-world.js';

export function feedReader(world: GatewayWorld) {
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever a page holds
  const verified = async (jws: string): Promise<any> => {
    const { payload, protectedHeader } = await compactVerify(jws, await importX509(world.decisionPem, 'ES256'));
    expect(protectedHeader).toMatchObject({ alg: 'ES256', typ: 'femtopki-feed+jws' });
    return JSON.parse(Buffer.from(payload).toString());
  };
  const by = { actor: 'person:kim', personId: null, note: 'test' } as const;
  return {
    verified,
    /** One page, its signature checked. */
    page: async (as: CurlCredential, query: string) => {
      const { status, body } = await world.client.call('GET', `/v1/feed?${query}`, { as });
      if (status !== 200) throw new Error(`the feed answered ${status}: ${JSON.stringify(body)}`);
      return verified(body);
    },
    acknowledge: (as: CurlCredential, position: string, stage: AckStage): Promise<CurlAnswer> =>
      world.client.call('POST', '/v1/feed/acks', { as, json: { position, stage } }),
    /** Numbers what is committed; the position of the last row. */
    end: async (): Promise<string> => {
      await world.sequence();
      const { rows } = await world.db.pool.query<{ at: string }>(
        `SELECT epoch || ':' || size AS at FROM ledger_frontier ORDER BY epoch DESC LIMIT 1`,
      );
      return rows[0]?.at ?? '1:0';
    },
    append: (...entries: LedgerEntry[]): Promise<void> => world.core.transactor.run((tx) => ledger.append(tx, entries)),
    hold: (unit: WorldUnit) =>
      world.core.revocation.hold({ ...by, reason: 'certificateHold', selection: { by: 'unit', unitId: unit.id } }),
    release: (unit: WorldUnit) => world.core.revocation.release({ ...by, unitId: unit.id }),
    revoke: (unit: WorldUnit) =>
      world.core.revocation.revoke({ ...by, reason: 'keyCompromise', selection: { by: 'unit', unitId: unit.id } }),
  };
}

/** A ledger row that is not for the feed. */
export function noise(n: number): LedgerEntry {
  return { kind: 'test.noted', subject: `unit:T-${n}`, at: new Date(), body: { n } };
}

/** A row as a revocation writes it, of a serial number that nobody has. */
export function revocationOf(unit: WorldUnit, n: number): LedgerEntry & { readonly body: { readonly serial: string } } {
  const { issuerId, notAfter } = unit.bootstrap;
  return {
    kind: 'certificate.revoked',
    subject: `unit:${unit.serialNumber}`,
    at: new Date(),
    body: { issuerId, serial: n.toString(16).padStart(32, '0'), notAfter, unitId: unit.id, reason: 'keyCompromise' },
  };
}
