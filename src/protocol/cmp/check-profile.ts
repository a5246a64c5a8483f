import type { Unit } from '../../lifecycle/model/index.js';
import { CmpFault } from '../../x509/cmp/index.js';
import type { CheckedMessage } from './check-header.js';
import type { CmpDeps } from './cmp-deps.js';
import type { Endpoint } from './endpoint.js';

/**
 * A profile, named in the path or in certProfile, is a model's label: it must exist and be that of the unit. It opens
 * nothing, what a unit may do is in the registry; a vendor that addresses the wrong one has mixed up its firmware.
 *
 * @throws CmpFault badRequest no such label, or two; notAuthorized another model's
 */
export async function checkProfile(
  deps: CmpDeps,
  { label }: Endpoint,
  { certProfile }: CheckedMessage,
  unit: Unit,
): Promise<void> {
  const named = label ?? certProfile;
  if (named === undefined) return;
  if (certProfile !== undefined && certProfile !== named) {
    throw new CmpFault('badRequest', 'certProfile and the path name different profiles');
  }
  const model = await deps.registry.modelByLabel(deps.transactor.read, named);
  if (model === null) throw new CmpFault('badRequest', 'there is no such profile', { facts: { label: named } });
  if (model.makerId !== unit.makerId || model.model !== unit.model) {
    throw new CmpFault('notAuthorized', 'the profile is not that of the unit', { facts: { label: named } });
  }
}
