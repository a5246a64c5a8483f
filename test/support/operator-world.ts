import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { wireCore } from '../../src/apps/wire-core.js';
import { wireOperator } from '../../src/apps/wire-operator.js';
import type { OperatorDeps } from '../../src/operator/api/operator-deps.js';
import { operatorServer } from '../../src/operator/api/server.js';
import { type DangerousAct, requestHash, textToSign } from '../../src/operator/people/approvals.js';
import type { PersonRole } from '../../src/operator/people/person.js';
import { openPrisma } from '../../src/platform/db/client.prisma.js';
import { transactorOf } from '../../src/platform/db/transaction.pg.js';
import { freshDatabase, type TestDatabase } from './database.js';

/** The operator API on a real database, with one person of each role. */
export interface OperatorWorld {
  readonly db: TestDatabase;
  readonly deps: OperatorDeps;
  readonly url: string;
  call(
    role: PersonRole | null,
    method: string,
    path: string,
    body?: unknown,
  ): Promise<{ status: number; json: Record<string, unknown> }>;
  signAs(role: PersonRole, act: DangerousAct, as: 'requester' | 'approver'): string;
  close(): Promise<void>;
}

export async function operatorWorld(): Promise<OperatorWorld> {
  const db = await freshDatabase();
  const prisma = openPrisma(db.url);
  const deps = wireOperator(wireCore(transactorOf(db.pool)), prisma, { macKey: randomBytes(32) });
  const tokens = new Map<PersonRole, string>();
  const keys = new Map<PersonRole, KeyObject>();
  for (const role of ['operator', 'approver', 'auditor', 'maker-admin'] as const) {
    const person = await deps.people.add({ name: role, role, makerId: null, at: deps.clock.now() });
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    keys.set(role, pair.privateKey);
    await deps.people.setFirstKey(person.id, pair.publicKey.export({ type: 'spki', format: 'der' }));
    const token = randomBytes(32).toString('base64url');
    tokens.set(role, token);
    const now = deps.clock.now();
    await deps.people.addToken({
      hash: createHash('sha256').update(token).digest(),
      personId: person.id,
      purpose: 'cli',
      createdAt: now,
      expiresAt: new Date(now.getTime() + 3_600_000),
    });
  }
  const hosts: string[] = [];
  const internal: unknown[] = [];
  const server: Server = createServer(operatorServer(deps, { hosts, onInternal: (error) => internal.push(error) }));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  hosts.push(host);
  const url = `http://${host}`;
  return {
    db,
    deps,
    url,
    call: async (role, method, path, body) => {
      const response = await fetch(`${url}/api/v1${path}`, {
        method,
        headers: {
          ...(role ? { authorization: `Bearer ${tokens.get(role)}` } : {}),
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      if (response.status === 500) throw new Error(`internal error at ${path}`, { cause: internal.at(-1) });
      return { status: response.status, json: (await response.json()) as Record<string, unknown> };
    },
    signAs: (role, act, as) => {
      const key = keys.get(role);
      if (!key) throw new Error(`no key of ${role}`);
      return sign('sha256', textToSign(requestHash(act), as), key).toString('base64');
    },
    close: async () => {
      await new Promise((done) => server.close(done));
      await prisma.$disconnect();
      await db.drop();
    },
  };
}
