import { z } from 'zod';
import { DRY_RUN_HOURS_MAX, type PolicyDryRun } from '../../../lifecycle/admission/index.js';
import {
  NETWORK_ACTIONS,
  NETWORK_EVENTS,
  NETWORK_RULES_MAX,
  type NetworkDanger,
  type NetworkPolicyVersion,
} from '../../../lifecycle/registry/index.js';
import { FemtoError } from '../../../platform/errors.js';
import { spendApproval } from '../../people/approvals.js';
import { networkPolicyAct } from '../network-policy-act.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

const version = z.coerce.number().int().min(1).max(2_147_483_647);
const POLICY_BYTES_MAX = 524_288;
const ACTIVATION_HOURS = 24;

const ruleBody = z.strictObject({
  name: z.string().max(48),
  action: z.enum(NETWORK_ACTIONS),
  events: z.array(z.enum(NETWORK_EVENTS)).max(NETWORK_EVENTS.length).optional(),
  cidr: z.string().max(64).optional(),
  asn: z.union([z.int(), z.literal('any')]).optional(),
  country: z.string().max(3).optional(),
  batch: z.string().max(64).optional(),
  model: z.string().max(64).optional(),
  region: z.string().max(64).optional(),
});

const documentBody = z.strictObject({
  rules: z.array(ruleBody).max(NETWORK_RULES_MAX),
  whenUnknown: z.partialRecord(z.enum(NETWORK_EVENTS), z.enum(NETWORK_ACTIONS)).optional(),
});

const hours = z.int().min(1).max(DRY_RUN_HOURS_MAX).default(ACTIVATION_HOURS);
const activateBody = z.strictObject({
  reason: shape.freeText,
  confirm: z
    .string()
    .max(500)
    .optional()
    .describe('the phrase that the refusal shows, where a group would be locked out'),
  approval: shape.approvalId,
});

/** From where units may come (NET-1), and their moves from line to line (NET-2). */
export function networkRoutes(deps: OperatorDeps): Route[] {
  const { network, dryRunPolicy, db } = deps;
  return [
    route({
      method: 'GET',
      path: '/network-policies',
      summary: 'Versions of the network policy, newest first',
      roles: READERS,
      query: z.strictObject({ limit: shape.limit }),
      handler: async ({ query }) => (await network.list(db.read, query.limit)).map(shown),
    }),
    route({
      method: 'GET',
      path: '/network-policies/active',
      summary: 'The version that decides now; null where there is none',
      roles: READERS,
      handler: async () => {
        const active = await network.active(db.read);
        return active === null ? null : shown(active);
      },
    }),
    route({
      method: 'GET',
      path: '/network-policies/:version',
      summary: 'One version with its rules, and what activating it could do',
      roles: READERS,
      handler: async ({ params }) => {
        const row = await network.version(db.read, versionOf(params));
        return { ...shown(row), ...(await network.danger(db.read, row.version)) };
      },
    }),
    route({
      method: 'POST',
      path: '/network-policies',
      summary: 'Proposes a new version; it changes nothing before it is activated',
      roles: OPERATORS,
      body: documentBody.extend({ reason: shape.freeText }),
      bodyBytesMax: POLICY_BYTES_MAX,
      handler: async ({ body: { reason, ...document }, actor }) =>
        shown(await network.propose({ document, reason, actor })),
    }),
    route({
      method: 'POST',
      path: '/network-policies/dry-run',
      summary: 'Judges past traffic by a version, or by rules that are not proposed yet; changes nothing',
      roles: DECIDERS,
      body: z.strictObject({ version: version.optional(), document: documentBody.optional(), hours }),
      bodyBytesMax: POLICY_BYTES_MAX,
      handler: async ({ body }) => {
        if ((body.version === undefined) === (body.document === undefined)) {
          throw new FemtoError('BAD_REQUEST', 'Send a version or a document, one of them.');
        }
        const document = body.document ?? (await network.version(db.read, body.version ?? 0)).document;
        return await dryRunPolicy({ document, hours: body.hours });
      },
    }),
    route({
      method: 'POST',
      path: '/network-policies/:version/activate',
      summary: 'Puts a version in force; two people where it locks a group out or loosens',
      roles: OPERATORS,
      body: activateBody,
      handler: ({ params, body, actor }) => activate(deps, versionOf(params), { ...body, actor }),
    }),
    route({
      method: 'POST',
      path: '/network-policies/:version/rollback',
      summary: 'Proposes an old version’s rules as a new version and puts it in force',
      roles: OPERATORS,
      body: activateBody.omit({ approval: true }),
      handler: async ({ params, body, actor }) => {
        const copy = await network.copy({ version: versionOf(params), reason: body.reason, actor });
        return await activate(deps, copy.version, { ...body, actor });
      },
    }),
    ...relocationRoutes(deps),
    ...alarmRoutes(deps),
  ];
}

/** 1 what could it do → 2 the typed phrase → 3 the second person → 4 in force, in one commit with the spent approval. */
async function activate(
  deps: OperatorDeps,
  wanted: number,
  by: { reason: string; confirm?: string | undefined; approval?: number | undefined; actor: string },
): Promise<unknown> {
  const { network, dryRunPolicy, db } = deps;
  const next = await network.version(db.read, wanted);
  const danger = await network.danger(db.read, wanted);
  const past = await dryRunPolicy({ document: next.document, hours: ACTIVATION_HOURS });
  const phrase = lockOutPhrase(danger, past);
  if (phrase !== null && by.confirm !== phrase) {
    throw new FemtoError('STATE_CONFLICT', `Version ${wanted} would lock units out; say so: --confirm "${phrase}"`, {
      facts: { version: wanted, phrase, unitsHit: past.unitsHit, unitsPermitted: past.unitsPermitted },
    });
  }
  const needsTwo = danger.locksOut.length > 0 || danger.loosens;
  return await db.run(async (tx) => {
    const eyes = needsTwo ? await spendApproval(deps, tx, networkPolicyAct(next), by.approval) : null;
    const approvedBy = eyes === null ? null : `person:${eyes.approvedBy}`;
    const active = await network.activate(tx, { version: wanted, reason: by.reason, actor: by.actor, approvedBy });
    return { ...shown(active), unitsHit: past.unitsHit, unitsPermitted: past.unitsPermitted };
  });
}

/** Half of those who came yesterday, or a whole group: nobody does that by a slip of the hand. */
function lockOutPhrase({ locksOut }: NetworkDanger, { unitsHit, unitsPermitted }: PolicyDryRun): string | null {
  if (locksOut.length > 0) return `lock out ${locksOut.join(', ')}`;
  return unitsHit > 0 && 2 * unitsHit >= unitsPermitted ? `lock out ${unitsHit} of ${unitsPermitted} units` : null;
}

function relocationRoutes({ relocations }: OperatorDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/relocations',
      summary: 'Relocation orders, newest first',
      roles: READERS,
      query: z.strictObject({ unit: z.string().max(32).optional(), limit: shape.limit }),
      handler: ({ query: { unit, limit } }) =>
        relocations.list(unit === undefined ? { limit } : { serialNumber: unit, limit }),
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/relocations',
      summary: 'Lets a unit move to one new line, once, within a time',
      roles: OPERATORS,
      body: z.strictObject({
        line: shape.name,
        reason: shape.freeText,
        lifeSeconds: z
          .int()
          .min(3_600)
          .max(30 * 86_400)
          .default(7 * 86_400),
      }),
      handler: ({ params, body, actor }) =>
        relocations.order({ serialNumber: params['serialNumber'] ?? '', ...body, actor }),
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/relocations/withdraw',
      summary: 'Ends the unit’s open relocation order',
      roles: DECIDERS,
      handler: ({ params, actor }) => relocations.withdraw({ serialNumber: params['serialNumber'] ?? '', actor }),
    }),
  ];
}

function alarmRoutes({ unknownAlarms }: OperatorDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/unknown-alarms',
      summary: 'Alarms of units that nobody knows, newest first',
      roles: READERS,
      handler: () => unknownAlarms.list(),
    }),
    route({
      method: 'GET',
      path: '/unknown-alarms/:id',
      summary: 'One alarm with its members: each attempt, from where, at which gateway',
      roles: READERS,
      handler: ({ params }) => unknownAlarms.show(idOf(params['id'])),
    }),
    route({
      method: 'POST',
      path: '/unknown-alarms/:id/acknowledge',
      summary: 'Takes an alarm over, by name; the next stranger opens another',
      roles: DECIDERS,
      handler: ({ params, actor }) => unknownAlarms.acknowledge(idOf(params['id']), actor),
    }),
  ];
}

function versionOf(params: Readonly<Record<string, string>>): number {
  return idOf(params['version']);
}

function idOf(text: string | undefined): number {
  const parsed = version.safeParse(text);
  if (parsed.success) return parsed.data;
  throw new FemtoError('NOT_FOUND', 'The path names no number.');
}

function shown<Row extends Omit<NetworkPolicyVersion, 'document'>>(row: Row) {
  return { ...row, documentSha256: row.documentSha256.toString('hex') };
}
