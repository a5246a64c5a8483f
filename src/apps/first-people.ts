import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { PersonRole, PersonStore } from '../operator/people/person.js';
import type { Clock } from '../platform/clock.js';
import { writeDurably } from '../platform/hsm/durable-file.js';

const LINK_LIFE_MS = 10 * 60_000;
const CREDENTIAL_LIFE_MS = 365 * 86_400_000;

/**
 * The two people an installation begins with: what one asks, the other approves. Each gets a one-time sign-in link, which
 * binds a key of their own, and a credential for the CLI; all of them only in 0600 files.
 *
 * @returns lines for the person at the terminal, naming files and never a token
 */
export async function inviteFirstPeople(
  deps: { readonly people: PersonStore; readonly clock: Clock },
  place: { readonly secretsDir: string; readonly operatorUrl: string },
): Promise<string[]> {
  const lines: string[] = [];
  for (const role of ['operator', 'approver'] as const) {
    const file = await invite(deps, place, role);
    if (file !== null) lines.push(`Sign in as ${role} within 10 minutes: npx femtopki sign-in ${file} --as ${role}`);
  }
  return lines;
}

async function invite(
  { people, clock }: { readonly people: PersonStore; readonly clock: Clock },
  { secretsDir, operatorUrl }: { readonly secretsDir: string; readonly operatorUrl: string },
  role: PersonRole,
): Promise<string | null> {
  const credentialFile = join(secretsDir, `cli-${role}.token`);
  const now = clock.now();
  const known = await people.byName(role);
  if (known !== null && existsSync(credentialFile)) return null;
  const person = known ?? (await people.add({ name: role, role, makerId: null, at: now }));
  const credential = token();
  await people.addToken({
    hash: credential.hash,
    personId: person.id,
    purpose: 'cli',
    createdAt: now,
    expiresAt: new Date(now.getTime() + CREDENTIAL_LIFE_MS),
  });
  writeDurably(credentialFile, `${credential.text}\n`, 0o600);
  if (person.publicKeySpki !== null) return null;
  const link = token();
  await people.addToken({
    hash: link.hash,
    personId: person.id,
    purpose: 'sign-in-link',
    createdAt: now,
    expiresAt: new Date(now.getTime() + LINK_LIFE_MS),
  });
  const linkFile = join(secretsDir, `sign-in-${role}.link`);
  // In the fragment, which no browser sends and no log keeps (rules 8.4).
  writeDurably(linkFile, `${operatorUrl}/sign-in#token=${link.text}\n`, 0o600);
  return linkFile;
}

function token(): { text: string; hash: Buffer } {
  const text = randomBytes(32).toString('base64url');
  return { text, hash: createHash('sha256').update(text).digest() };
}
