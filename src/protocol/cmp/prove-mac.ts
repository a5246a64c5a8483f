import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FewAtOnce } from '../../platform/few-at-once.js';
import { CmpFault, deriveMacKey, type MacAlgorithm, verifyMac } from '../../x509/cmp/index.js';
import type { CheckedMessage } from './check-header.js';
import type { CmpDeps, UsableSecret } from './cmp-deps.js';
import type { MacSender } from './sender.js';

/**
 * Who protected a message by a shared secret. A reference that nobody was given, one whose unit may not use it (any more), and
 * a wrong secret are one answer. The reference is no secret, so failures are never counted against it: nobody could lock a
 * unit out.
 *
 * @throws CmpFault badMessageCheck, wrongIntegrity; systemUnavail where too many are being checked
 */
export async function proveMac(deps: CmpDeps, message: CheckedMessage, algorithm: MacAlgorithm): Promise<MacSender> {
  if (!MAC_BODIES.has(message.body.kind)) {
    throw new CmpFault('wrongIntegrity', 'this kind of message is protected by a signature');
  }
  const reference = message.senderKid?.toString('latin1') ?? '';
  const { protection, protectedDer } = message;
  // Everything that needs no computing first: who has the reference alone can make us compute.
  const known = await usableSecret(deps, reference);
  if (known === null || protection === undefined) throw wrong();
  const { secret, unit } = known;
  const macKey = await few.run(() => deriveMacKey(algorithm, secret, () => nextTurn()), busy);
  if (!verifyMac(algorithm, macKey, protectedDer, protection)) throw wrong();
  const protectionKey = createHash('sha256').update('femtopki-cmp-mac-reference').update(reference).digest();
  return { kind: 'mac', reference, macKey, algorithm, unit, protectionKey };
}

async function usableSecret(deps: CmpDeps, reference: string): Promise<UsableSecret | null> {
  if (!REFERENCE.test(reference)) return null;
  const known = await deps.factory.macSecret(reference);
  if (known === null) return null;
  const { macAllowed } = await deps.registry.modelOf(deps.transactor.read, known.unit);
  return macAllowed ? known : null;
}

function wrong(): CmpFault {
  return new CmpFault('badMessageCheck', 'the MAC is wrong');
}

function busy(): CmpFault {
  return new CmpFault('systemUnavail', 'too many shared secrets are being checked');
}

/** A secret never renews, revokes or reads: it leads to a bootstrap certificate (rules 3.2). */
const MAC_BODIES: ReadonlySet<string> = new Set(['ir', 'cr', 'p10cr', 'certConf', 'pollReq']);
const REFERENCE = /^[A-Za-z0-9_-]{16,64}$/;

/** Of a few milliseconds each; a factory line has a handful of units at once. */
const few = new FewAtOnce(2, 64);
