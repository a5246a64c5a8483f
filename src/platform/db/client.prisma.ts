import { PrismaPg } from '@prisma/adapter-pg';
import { PrismaClient } from './generated/client.js';
import { openPool } from './pool.pg.js';

export type Prisma = PrismaClient;

/**
 * Prisma over the same database, for what people read and rarely write. The hot paths (issuance, status, ledger) use
 * SQL in `*.pg.ts`, where a batch is one statement.
 *
 * @param url  PostgreSQL URL
 */
export function openPrisma(url: string): Prisma {
  const pool = openPool(url, { applicationName: 'prisma', connectionsMax: 4 });
  return new PrismaClient({ adapter: new PrismaPg(pool, { disposeExternalPool: true }) });
}
