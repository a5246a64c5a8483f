import { z } from 'zod';
import type { CampaignSelection } from '../../lifecycle/renewal/index.js';
import type { Selection, UnitSelection } from '../../lifecycle/revocation/index.js';
import { FemtoError } from '../../platform/errors.js';
import type { CampaignSelect } from '../people/campaign-act.js';
import { type UnitSelect, unitSelect } from '../people/fleet-act.js';
import type { OperatorDeps } from './operator-deps.js';
import * as shape from './shapes.js';

/** Everything that an act of restriction may be about (REV-1). */
export const anySelect = z.discriminatedUnion('by', [
  ...unitSelect.options,
  z.strictObject({ by: z.literal('certificate'), serial: shape.serialHex }),
  z.strictObject({ by: z.literal('key'), spkiSha256: shape.sha256Hex }),
  z.strictObject({ by: z.literal('lineage'), lineageId: z.int().positive() }),
]);
export type AnySelect = z.infer<typeof anySelect>;

type Resolvers = Pick<OperatorDeps, 'db' | 'registry' | 'selections' | 'views'>;

/** @throws NOT_FOUND; BAD_REQUEST where more than one maker has such a batch */
export async function resolveUnits(
  { db, registry, selections }: Omit<Resolvers, 'views'>,
  select: Exclude<UnitSelect, { by: 'serial-numbers' }>,
): Promise<UnitSelection> {
  switch (select.by) {
    case 'unit': {
      const unit = await registry.unitBySerialNumber(db.read, select.unit);
      if (unit === null)
        throw new FemtoError('NOT_FOUND', `No unit ${select.unit}; list them with femtopki unit list.`);
      return { by: 'unit', unitId: unit.id };
    }
    case 'batch':
      return { by: 'batch', batchId: await batchId(await selections.batchesNamed(db.read, select.batch), select) };
    case 'model':
      return select.firmwareSha256 === undefined
        ? { by: 'model', model: select.model }
        : { by: 'model', model: select.model, firmwareSha256: select.firmwareSha256 };
    case 'factory-credential': {
      const credentialId = await selections.factoryCredentialNamed(db.read, select.credential);
      if (credentialId === null) {
        throw new FemtoError(
          'NOT_FOUND',
          `No factory credential ${select.credential}; list them with femtopki credential list.`,
        );
      }
      return { by: 'factory-credential', credentialId };
    }
  }
}

/** @param listed  serial numbers beside a selection by serial numbers */
export async function resolveAny(
  deps: Resolvers,
  select: AnySelect,
  listed: readonly string[] = [],
): Promise<Selection> {
  switch (select.by) {
    case 'serial-numbers':
      return { by: 'serial-numbers', serialNumbers: listed };
    case 'certificate':
      return certificateSelection(deps, select.serial);
    case 'key':
      return { by: 'key', spkiHash: Buffer.from(select.spkiSha256, 'hex') };
    case 'lineage':
      return { by: 'lineage', lineageId: select.lineageId };
    default:
      return resolveUnits(deps, select);
  }
}

/** @throws NOT_FOUND; BAD_REQUEST where more than one maker has such a batch */
export async function resolveCampaign(
  deps: Omit<Resolvers, 'views'> & Pick<OperatorDeps, 'issuers'>,
  select: Exclude<CampaignSelect, { by: 'serial-numbers' }>,
): Promise<CampaignSelection> {
  switch (select.by) {
    case 'ca': {
      const ca = (await deps.issuers.all()).find(({ label }) => label === select.ca);
      if (ca === undefined) throw new FemtoError('NOT_FOUND', `No CA ${select.ca}; list them with femtopki ca list.`);
      return { by: 'ca', issuerId: ca.id };
    }
    case 'key-algorithm':
    case 'lineages':
      return select;
    default:
      return resolveUnits(deps, select);
  }
}

/** @throws NOT_FOUND when the record has no such serial */
export async function certificateSelection(
  { views }: Pick<OperatorDeps, 'views'>,
  serialHex: string,
): Promise<Extract<Selection, { by: 'certificate' }>> {
  const row = await views.certificate(serialHex);
  if (!row) throw new FemtoError('NOT_FOUND', 'No certificate with this serial is in the record.');
  return {
    by: 'certificate',
    issuerId: Number(row['issuerId']),
    serial: Buffer.from(String(row['serial']), 'hex'),
  };
}

async function batchId(
  found: readonly { id: number; maker: string }[],
  { batch, maker }: { batch: string; maker?: string | undefined },
): Promise<number> {
  const fitting = found.filter((one) => maker === undefined || one.maker === maker);
  const [first, second] = fitting;
  if (first === undefined) throw new FemtoError('NOT_FOUND', `No batch ${batch}; list them with femtopki batch list.`);
  if (second !== undefined) {
    throw new FemtoError(
      'BAD_REQUEST',
      `More than one maker has a batch ${batch}; say which with --maker: ${fitting.map((one) => one.maker).join(', ')}.`,
    );
  }
  return first.id;
}
