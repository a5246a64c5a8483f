/**
 * Revokes one certificate after another, as the operator's server does, and asks for each by HTTP until the answer says so.
 * Orders come over IPC: `{kind: 'product', revocations}` and `{kind: 'bare', …}`, where a row is updated and told instead;
 * each is answered by the milliseconds from the commit to the answer. argv[2]: JSON file of RevokeLoadSettings.
 */
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { openRevocation } from '../../test/support/status-rooms.js';
import { bareTeller } from './bare-teller.js';
import { HttpLine } from './http-line.js';
import { type OcspQuestions, ocspRequestOf } from './ocsp-requests.js';

export interface RevokeLoadSettings {
  readonly databaseUrl: string;
  readonly port: number;
  readonly barePort: number;
  readonly units: readonly { readonly unitId: number; readonly serialHex: string }[];
  readonly question: Omit<OcspQuestions, 'count' | 'serials'>;
}

export interface RevokeOrder {
  readonly kind: 'product' | 'bare';
  readonly revocations: number;
}

const settings = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as RevokeLoadSettings;
const pool = openPool(settings.databaseUrl, { applicationName: 'revoke-load', connectionsMax: 2 });
const revocation = openRevocation(transactorOf(pool));
const dial = (port: number): HttpLine => new HttpLine(() => connect({ port, host: '127.0.0.1' }), 'connect');
const product = dial(settings.port);
const tellOne = bareTeller(pool, dial(settings.barePort));
const REVOKED = Buffer.from([0xa1, 0x16, 0x18, 0x0f]); // certStatus revoked: a time and a reason
let next = 0;

async function revokeOne(): Promise<number> {
  const unit = settings.units[next];
  if (!unit) throw new Error('no units left');
  next += 1;
  const request = ocspRequestOf(settings.question, Buffer.from(unit.serialHex, 'hex'));
  // Cached before, so that what is measured includes taking the old answer away.
  if ((await product.ask(request)).body.includes(REVOKED)) throw new Error('revoked before its time');
  await revocation.revoke({
    actor: 'system:bench',
    personId: null,
    reason: 'keyCompromise',
    note: 'stolen',
    selection: { by: 'unit', unitId: unit.unitId },
  });
  const committed = performance.now();
  while (!(await product.ask(request)).body.includes(REVOKED)) if (performance.now() - committed > 10_000) break;
  return performance.now() - committed;
}

process.on('message', ({ kind, revocations }: RevokeOrder) => {
  void (async () => {
    const milliseconds: number[] = [];
    for (let index = 0; index < revocations; index += 1)
      milliseconds.push(await (kind === 'product' ? revokeOne() : tellOne()));
    process.send?.(milliseconds);
  })();
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
