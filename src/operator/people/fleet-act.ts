import { z } from 'zod';
import {
  FLEET_ACTS,
  type FleetAct,
  type FleetJudge,
  type FleetOrder,
  type FleetTerms,
  type JudgedOrder,
  type UnitSelection,
} from '../../lifecycle/revocation/index.js';
import { FemtoError } from '../../platform/errors.js';
import {
  type ApprovalDeps,
  checkSignature,
  checkUntil,
  markSpent,
  signedAct,
  textToSign,
  twoSigners,
} from './approvals.js';

/** As people name what an act is about; the units are found anew when it is carried out. */
export const unitSelect = z.discriminatedUnion('by', [
  z.strictObject({ by: z.literal('unit'), unit: z.string().min(1).max(32) }),
  z.strictObject({ by: z.literal('batch'), batch: z.string().min(1).max(64), maker: z.string().max(64).optional() }),
  z.strictObject({
    by: z.literal('model'),
    model: z.string().min(1).max(64),
    firmwareSha256: z
      .string()
      .regex(/^[0-9a-f]{64}$/)
      .optional(),
  }),
  z.strictObject({ by: z.literal('factory-credential'), credential: z.string().min(1).max(64) }),
  z.strictObject({ by: z.literal('serial-numbers') }).describe('exactly the units listed beside it'),
]);
export type UnitSelect = z.infer<typeof unitSelect>;

/** What a person asks and signs; canonical JSON of it is the text (see canonicalRequest). */
export const FLEET_CODES = ['unspecified', 'keyCompromise', 'cessationOfOperation', 'privilegeWithdrawn'] as const;
const signedRequest = z.strictObject({
  select: unitSelect,
  code: z.enum(FLEET_CODES),
  reason: z.string().min(3).max(500),
  evidence: z.string().min(3).max(500).optional(),
  secondPerson: z.boolean(),
  list: z.strictObject({ count: z.int().min(1), sha256: z.string().regex(/^[0-9a-f]{64}$/) }),
});
export type FleetRequest = z.infer<typeof signedRequest>;

export interface FleetJudgeDeps extends ApprovalDeps {
  /** @throws NOT_FOUND; BAD_REQUEST where more than one maker has such a batch */
  readonly resolveUnits: (select: Exclude<UnitSelect, { by: 'serial-numbers' }>) => Promise<UnitSelection>;
}

/**
 * Believes an order by its signatures alone: of the requester always, of an approver where the requester signed that one is
 * needed. What the row says beside the signed text is progress, never authority (rules 8.1).
 */
export function fleetJudge(deps: FleetJudgeDeps): FleetJudge {
  return { judge: (order) => judge(deps, order) };
}

async function judge(deps: FleetJudgeDeps, order: FleetOrder): Promise<JudgedOrder> {
  const terms = await termsOf(deps, signedAct(order));
  return { terms, ...(await signersOf(deps, order, { needsSecond: terms.secondPerson, noun: 'fleet' })) };
}

/** A text that was placed, and whose signatures are beside it. */
type SignedRow = Pick<FleetOrder, 'request' | 'requestHash' | 'requestedBy' | 'requestSignature' | 'approvalId'> & {
  readonly state: string;
};

/**
 * Who stands behind a text: the requester always, an approver where they signed that one is needed.
 *
 * @param of.noun  of the command that shows it
 * @throws FemtoError DENIED; STATE_CONFLICT when it is too old by the clock of `deps`
 */
export async function signersOf(
  deps: ApprovalDeps,
  order: SignedRow,
  { needsSecond, noun }: { readonly needsSecond: boolean; readonly noun: 'fleet' | 'campaign' },
): Promise<Omit<JudgedOrder, 'terms'>> {
  const bad = (fault: string): FemtoError => unbelieved(fault, noun);
  const act = signedAct(order);
  if (act.nonce === undefined || act.until === undefined) throw bad('Its text has no nonce and no end.');
  checkUntil(act, deps.clock.now());
  const requester = await deps.people.byId(order.requestedBy);
  if (requester === null) throw bad('Nobody is known who asked for it.');
  checkSignature(requester, textToSign(order.requestHash, 'requester'), order.requestSignature);
  const by = { actor: `person:${requester.name}`, personId: requester.id };
  if (!needsSecond && order.approvalId === null) return { ...by, approvedBy: null };

  const approval = order.approvalId === null ? null : await deps.approvals.byId(order.approvalId);
  if (approval === null || !approval.requestHash.equals(order.requestHash) || approval.requestedBy !== requester.id) {
    throw bad('Its text asks for a second person, and no approval of this text is there.');
  }
  // An order that is not placed or started yet is nothing until somebody approves it.
  if (order.state === 'waiting' && approval.state === 'open') return { ...by, approvedBy: null };
  const names = await twoSigners(deps, approval);
  const spend: NonNullable<JudgedOrder['spend']> = (tx) => markSpent(deps, tx, approval, names);
  return { ...by, approvedBy: `person:${names.approvedBy}`, spend };
}

async function termsOf(
  deps: FleetJudgeDeps,
  act: { readonly kind: string; readonly request: unknown; readonly selectionCount: number },
): Promise<FleetTerms> {
  const name = FLEET_ACTS.find((one) => act.kind === fleetKind(one));
  const request = signedRequest.safeParse(act.request);
  if (name === undefined || !request.success || request.data.list.count !== act.selectionCount) {
    throw unbelieved('Its text is no act over a fleet.', 'fleet');
  }
  const { select, code, reason, evidence, secondPerson, list } = request.data;
  return {
    act: name,
    selection: select.by === 'serial-numbers' ? null : await deps.resolveUnits(select),
    reason: code,
    note: reason,
    secondPerson,
    list,
    ...(evidence === undefined ? {} : { evidence }),
  };
}

export function fleetKind(act: FleetAct): string {
  return `fleet.${act}`;
}

function unbelieved(fault: string, noun: 'fleet' | 'campaign'): FemtoError {
  return new FemtoError('DENIED', `This is not carried out. ${fault} Look at it with femtopki ${noun} show.`);
}
