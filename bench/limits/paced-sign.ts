/**
 * How long the token alone takes for one signature at a rate: C_SignInit and C_Sign over a ready digest. argv[2]: JSON
 * {"path", "environment", "tokenLabel", "pinFile", "keyLabel"}. Message {seconds, perSecond} → {p99Ms, cpuSeconds, operations}.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pkcs11js from 'pkcs11js';

const settings = JSON.parse(process.argv[2] ?? '') as Record<string, string> & { environment: Record<string, string> };
Object.assign(process.env, settings.environment);
const token = new pkcs11js.PKCS11();
token.load(settings['path'] ?? '');
token.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
const slot = token.C_GetSlotList(true).find((one) => token.C_GetTokenInfo(one).label.trim() === settings['tokenLabel']);
const session = token.C_OpenSession(slot as Buffer, pkcs11js.CKF_SERIAL_SESSION);
token.C_Login(session, pkcs11js.CKU_USER, readFileSync(settings['pinFile'] ?? '', 'utf8').trim());
const isKey = { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY };
token.C_FindObjectsInit(session, [isKey, { type: pkcs11js.CKA_LABEL, value: settings['keyLabel'] ?? '' }]);
const [key] = token.C_FindObjects(session, 1) as [Buffer];
token.C_FindObjectsFinal(session);

const measure = async ({ seconds, perSecond }: { seconds: number; perSecond: number }): Promise<void> => {
  const before = process.cpuUsage();
  const startMs = performance.now();
  const took: number[] = [];
  while (took.length < seconds * perSecond) {
    await sleep(Math.max(0, startMs + (took.length * 1_000) / perSecond - performance.now()));
    const beginMs = performance.now();
    token.C_SignInit(session, { mechanism: pkcs11js.CKM_ECDSA }, key);
    token.C_Sign(session, randomBytes(32), Buffer.alloc(64));
    took.push(performance.now() - beginMs);
  }
  const { user, system } = process.cpuUsage(before);
  const p99Ms = took.sort((a, b) => a - b)[Math.floor(took.length * 0.99)];
  process.send?.({ p99Ms, cpuSeconds: (user + system) / 1e6, operations: took.length });
};
process.on('message', (order: { seconds: number; perSecond: number }) => void measure(order));
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
