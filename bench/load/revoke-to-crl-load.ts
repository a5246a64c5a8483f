/**
 * Revokes units, one after another and a few at once, as the operator's server does, and fetches the CRL of each one's CA until
 * it lists the serial. Orders come over IPC: `{kind: 'product', revocations, atOnce}` and `{kind: 'bare', revocations}`, where
 * a row is updated and told instead; each is answered by the milliseconds from the commit to the answer. argv[2]: JSON file of
 * RevokeToCrlSettings.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { openRevocation } from '../../test/support/status-rooms.js';
import type { RevocableUnit } from '../servers/crl-publication.js';
import { bareTeller } from './bare-teller.js';
import { HttpLine, httpRequest } from './http-line.js';

export interface RevokeToCrlSettings {
  readonly databaseUrl: string;
  readonly port: number;
  readonly barePort: number;
  readonly units: readonly RevocableUnit[];
}

export type RevokeToCrlOrder =
  | { readonly kind: 'product'; readonly revocations: number; readonly atOnce: number }
  | { readonly kind: 'bare'; readonly revocations: number };

const PATIENCE_MS = 30_000;
/** Between two looks, as a client that asks whether there is something newer. */
const LOOK_EVERY_MS = 5;

const settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as RevokeToCrlSettings;
const pool = openPool(settings.databaseUrl, { applicationName: 'revoke-load', connectionsMax: 12 });
const revocation = openRevocation(transactorOf(pool));
const dial = (port: number): HttpLine => new HttpLine(() => connect({ port, host: '127.0.0.1' }), 'connect');
const lines: HttpLine[] = [];
const tellOne = bareTeller(pool, dial(settings.barePort));
let next = 0;

async function revokeOne(): Promise<number> {
  const unit = settings.units[next];
  if (!unit) throw new Error('no units left');
  next += 1;
  const line = lines.pop() ?? dial(settings.port);
  let { isListed, etag } = await look(line, unit, '');
  if (isListed) throw new Error('listed before its time');
  await revocation.revoke({
    actor: 'system:bench',
    personId: null,
    reason: 'keyCompromise',
    note: 'stolen',
    selection: { by: 'unit', unitId: unit.unitId },
  });
  const committed = performance.now();
  while (!isListed && performance.now() - committed < PATIENCE_MS) {
    ({ isListed, etag } = await look(line, unit, etag));
    if (!isListed) await sleep(LOOK_EVERY_MS);
  }
  lines.push(line);
  return performance.now() - committed;
}

/** Does the CRL list it? `etag` of the one that was looked at last, of which the server says only that it is the newest. */
async function look(
  line: HttpLine,
  { label, serialHex }: RevocableUnit,
  etag: string,
): Promise<{ isListed: boolean; etag: string }> {
  const { status, head, body } = await line.ask(httpRequest(`GET /crl/${label}.crl`, { 'if-none-match': etag }));
  if (status === 304) return { isListed: false, etag };
  const serial = Buffer.from(serialHex, 'hex');
  const entry = Buffer.concat([Buffer.from([0x02, serial.length]), serial]);
  return { isListed: status === 200 && body.includes(entry), etag: /^etag: (\S+)\r?$/im.exec(head)?.[1] ?? '' };
}

process.on('message', (order: RevokeToCrlOrder) => {
  void (async () => {
    const milliseconds: number[] = [];
    while (milliseconds.length < order.revocations) {
      if (order.kind === 'bare') milliseconds.push(await tellOne());
      else milliseconds.push(...(await Promise.all(Array.from({ length: order.atOnce }, revokeOne))));
    }
    process.send?.(milliseconds);
  })();
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
