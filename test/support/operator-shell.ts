/**
 * `femtopki` as people type it: the real command on the path of a shell, the operator API over a world's database behind it, and
 * one operator and one approver with their credentials where the command looks for them.
 */
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Core } from '../../src/apps/wire-core.js';
import { wireOperator } from '../../src/apps/wire-operator.js';
import type { OperatorDeps } from '../../src/operator/api/operator-deps.js';
import { operatorServer } from '../../src/operator/api/server.js';
import type { PersonRole } from '../../src/operator/people/person.js';
import { openPrisma } from '../../src/platform/db/client.prisma.js';

export interface OperatorShell {
  /** Put before PATH: `femtopki` is in it. */
  readonly binDir: string;
  /** Of the operator API. */
  readonly url: string;
  close(): Promise<void>;
}

/** @param options.macKey  what enrol-server derives shared secrets from */
export async function operatorShell(
  core: Core,
  { dbUrl, macKey, onInternal }: { dbUrl: string; macKey: Buffer; onInternal?: (error: unknown) => void },
): Promise<OperatorShell> {
  const dir = mkdtempSync(join(tmpdir(), 'fp-shell-'));
  const prisma = openPrisma(dbUrl);
  const deps = wireOperator(core, prisma, { macKey });
  mkdirSync(join(dir, 'secrets'));
  for (const role of ['operator', 'approver'] as const) await addPerson(deps, dir, role);
  const hosts: string[] = [];
  const server = createServer(
    operatorServer(deps, {
      hosts,
      onInternal:
        onInternal ??
        ((error) => {
          throw error;
        }),
    }),
  );
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  hosts.push(host);
  const node = `"${process.execPath}" --disable-warning=ExperimentalWarning --import "${LOADER}" "${CLI}"`;
  writeFileSync(join(dir, 'femtopki'), `#!/bin/sh\nexec ${node} "$@" --server http://${host} --data ${dir}\n`, {
    mode: 0o755,
  });
  return {
    binDir: dir,
    url: `http://${host}`,
    close: async () => {
      await new Promise((done) => server.close(done));
      await prisma.$disconnect();
      rmSync(dir, { recursive: true });
    },
  };
}

const LOADER = new URL('../../bin/ts-loader.mjs', import.meta.url).href;
const CLI = fileURLToPath(new URL('../../src/apps/femtopki.ts', import.meta.url));

async function addPerson({ people, clock }: OperatorDeps, dir: string, role: PersonRole): Promise<void> {
  const now = clock.now();
  const { id: personId } = await people.add({ name: role, role, makerId: null, at: now });
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  await people.setFirstKey(personId, publicKey.export({ type: 'spki', format: 'der' }));
  const token = randomBytes(32).toString('base64url');
  const hash = createHash('sha256').update(token).digest();
  const expiresAt = new Date(now.getTime() + 3_600_000);
  await people.addToken({ hash, personId, purpose: 'cli', createdAt: now, expiresAt });
  const secret = (file: string, text: string | Buffer) =>
    writeFileSync(join(dir, 'secrets', file), text, { mode: 0o600 });
  secret(`cli-${role}.token`, token);
  secret(`person-${role}.key`, privateKey.export({ type: 'pkcs8', format: 'pem' }));
}
