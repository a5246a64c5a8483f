/**
 * What the token alone can do: C_SignInit and C_Sign over ready digests, nothing else. Run it twice for two processes.
 * argv[2]: JSON {"path", "environment", "tokenLabel", "pinFile", "keyLabel"}. Message {seconds} → {operations, seconds, cpuSeconds}.
 */
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import pkcs11js from 'pkcs11js';

const settings = JSON.parse(process.argv[2] ?? '') as Record<string, string> & { environment: Record<string, string> };
Object.assign(process.env, settings.environment);
const token = new pkcs11js.PKCS11();
token.load(settings['path'] ?? '');
token.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
const slot = token.C_GetSlotList(true).find((one) => token.C_GetTokenInfo(one).label.trim() === settings['tokenLabel']);
const session = token.C_OpenSession(slot as Buffer, pkcs11js.CKF_SERIAL_SESSION);
token.C_Login(session, pkcs11js.CKU_USER, readFileSync(settings['pinFile'] ?? '', 'utf8').trim());
token.C_FindObjectsInit(session, [
  { type: pkcs11js.CKA_CLASS, value: pkcs11js.CKO_PRIVATE_KEY },
  { type: pkcs11js.CKA_LABEL, value: settings['keyLabel'] ?? '' },
]);
const [key] = token.C_FindObjects(session, 1) as [Buffer];
token.C_FindObjectsFinal(session);
const digests = Array.from({ length: 256 }, () => randomBytes(32));
const out = Buffer.alloc(64);

process.on('message', ({ seconds }: { seconds: number }) => {
  const before = process.cpuUsage();
  const startMs = performance.now();
  let operations = 0;
  for (; performance.now() - startMs < seconds * 1_000; operations += 1) {
    token.C_SignInit(session, { mechanism: pkcs11js.CKM_ECDSA }, key);
    token.C_Sign(session, digests[operations & 255] as Buffer, out);
  }
  const { user, system } = process.cpuUsage(before);
  process.send?.({ operations, seconds: (performance.now() - startMs) / 1_000, cpuSeconds: (user + system) / 1e6 });
});
process.on('disconnect', () => process.exit(0));
process.send?.('ready');
