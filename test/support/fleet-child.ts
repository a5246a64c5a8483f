/** What operator-server does with a started order, as a process that can be killed. argv: database URL, order id. */
import { randomBytes } from 'node:crypto';
import { wireCore } from '../../src/apps/wire-core.js';
import { wireOperator } from '../../src/apps/wire-operator.js';
import { openPrisma } from '../../src/platform/db/client.prisma.js';
import { openPool } from '../../src/platform/db/pool.pg.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';

const [url = '', orderId = ''] = process.argv.slice(2);
const pool = openPool(url, { applicationName: 'operator-server' });
const deps = wireOperator(wireCore(transactorOf(pool)), openPrisma(url), { macKey: randomBytes(32) });
await deps.fleet.start(Number(orderId));
await deps.fleet.carryOut(Number(orderId));
process.exit(0);
