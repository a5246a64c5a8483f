import { z } from 'zod';
import {
  type CertificateSelection,
  KEYS_AT_ONCE_MAX,
  type Requester,
  type RestrictOutcome,
} from '../../../lifecycle/revocation/index.js';
import type { Transaction } from '../../../platform/db/transaction.js';
import { FemtoError } from '../../../platform/errors.js';
import { type DangerousAct, spendApproval } from '../../people/approvals.js';
import { keyBlockAct } from '../../people/key-block-act.js';
import { EVIDENCE_BYTES_MAX, type ReportedKey, reportedKeys } from '../../people/key-evidence.js';
import type { OperatorDeps } from '../operator-deps.js';
import { type Call, DECIDERS, OPERATORS, type Route, route } from '../route.js';
import { certificateSelection } from '../selections.js';
import * as shape from '../shapes.js';

const holdBody = z.strictObject({ reason: shape.freeText, approval: shape.approvalId });
const KEYS_BYTES_MAX = 4 * 1_048_576;

/** A few certificates by serial, key or lineage; and keys that nobody may bring again (REV-1, REV-5). */
export function keyRoutes(deps: OperatorDeps): Route[] {
  const { revocation } = deps;
  return [
    ...certificateActs(deps, {
      path: '/certificates/:serial',
      noun: 'certificate',
      what: 'one certificate',
      codes: ['unspecified', 'keyCompromise', 'superseded', 'cessationOfOperation'],
      select: async (params) => {
        const serial = params['serial'] ?? '';
        return { selection: await certificateSelection(deps, serial), request: { serial } };
      },
    }),
    ...certificateActs(deps, {
      path: '/lineages/:id',
      noun: 'lineage',
      what: 'every certificate of one lineage; its unit keeps its state',
      codes: ['unspecified', 'keyCompromise', 'cessationOfOperation'],
      select: async (params) => {
        const lineageId = Number(params['id']);
        if (!Number.isSafeInteger(lineageId)) throw new FemtoError('BAD_REQUEST', 'A lineage is named by its number.');
        return { selection: { by: 'lineage', lineageId }, request: { lineageId } };
      },
    }),
    ...certificateActs(deps, {
      path: '/keys/:spkiSha256',
      noun: 'key',
      what: 'every certificate with one key',
      codes: null,
      select: async (params) => {
        const spkiSha256 = params['spkiSha256'] ?? '';
        if (!/^[0-9a-f]{64}$/.test(spkiSha256)) throw new FemtoError('BAD_REQUEST', 'A key is named by 64 hex digits.');
        return { selection: { by: 'key', spkiHash: Buffer.from(spkiSha256, 'hex') }, request: { spkiSha256 } };
      },
    }),
    route({
      method: 'POST',
      path: '/keys/block',
      summary:
        'Takes in compromised keys: blocked for ever, certificates revoked, units suspended. Each is a fingerprint, certificate, request, public or private key; of a private key only the fingerprint is kept',
      roles: DECIDERS,
      bodyBytesMax: KEYS_BYTES_MAX,
      body: z.strictObject({
        keys: z.array(z.string().min(1).max(EVIDENCE_BYTES_MAX)).min(1).max(KEYS_AT_ONCE_MAX),
        reason: shape.freeText,
        source: z.string().min(1).max(128),
        approval: shape.approvalId,
      }),
      handler: async ({ body, actor, person }) => {
        const reported = distinct(body.keys.flatMap((text) => reportedKeys(Buffer.from(text, 'utf8'))));
        const { reason: note, source, approval } = body;
        const by = { actor, personId: person.id, ...approvedBy(deps, keyBlockAct(reported, note, source), approval) };
        const { keys, ...outcome } = await revocation.blockKeys({
          ...by,
          spkiHashes: reported.map(({ spkiHash }) => spkiHash),
          note,
          source,
        });
        const shownAs = new Map(reported.map((key) => [key.spkiHash.toString('hex'), key.shownAs]));
        return {
          ...outcome,
          keys: keys.map(({ spkiHash, isNew, ...rest }) => {
            const spkiSha256 = spkiHash.toString('hex');
            return {
              spkiSha256,
              shownAs: shownAs.get(spkiSha256),
              state: isNew ? 'blocked' : 'blocked before',
              ...rest,
            };
          }),
        };
      },
    }),
  ];
}

type Named = { readonly selection: CertificateSelection; readonly request: Readonly<Record<string, unknown>> };

function certificateActs(
  deps: OperatorDeps,
  of: {
    readonly path: string;
    readonly noun: string;
    readonly what: string;
    /** Null: not revoked this way. */
    readonly codes: readonly ['unspecified', ...('keyCompromise' | 'superseded' | 'cessationOfOperation')[]] | null;
    readonly select: (params: Call['params']) => Promise<Named>;
  },
): Route[] {
  const { revocation } = deps;
  const act = async (
    verb: 'revoke' | 'hold' | 'release',
    { params, body, actor, person }: Omit<Call, 'body' | 'query'> & { body: z.infer<typeof holdBody> },
    carryOut: (request: Requester & { selection: CertificateSelection; note: string }) => Promise<RestrictOutcome>,
  ): Promise<RestrictOutcome> => {
    const { selection, request } = await of.select(params);
    const signed = { kind: `${of.noun}.${verb}`, request, selectionCount: 1 };
    const by = { actor, personId: person.id, ...approvedBy(deps, signed, body.approval) };
    return carryOut({ ...by, selection, note: body.reason });
  };
  const { codes } = of;
  const revoke =
    codes === null
      ? []
      : [
          route({
            method: 'POST',
            path: `${of.path}/revoke`,
            summary: `Revokes ${of.what}`,
            roles: DECIDERS,
            body: holdBody.extend({ code: z.enum(codes).default('unspecified') }),
            handler: (call) => act('revoke', call, (by) => revocation.revoke({ ...by, reason: call.body.code })),
          }),
        ];
  return [
    ...revoke,
    route({
      method: 'POST',
      path: `${of.path}/hold`,
      summary: `Holds ${of.what}`,
      roles: DECIDERS,
      body: holdBody,
      handler: (call) => act('hold', call, (by) => revocation.hold({ ...by, reason: 'certificateHold' })),
    }),
    route({
      method: 'POST',
      path: `${of.path}/release`,
      summary: `Ends holds that were put on ${of.what}; two people`,
      roles: OPERATORS,
      body: holdBody,
      handler: (call) => act('release', call, (by) => revocation.releaseCertificates(by)),
    }),
  ];
}

/** Spent in the transaction that acts, so that an act that fails leaves the approval as it was. */
function approvedBy(
  deps: OperatorDeps,
  act: DangerousAct,
  approvalId: number | undefined,
): { approvedBy?: (tx: Transaction) => Promise<string> } {
  if (approvalId === undefined) return {};
  return { approvedBy: async (tx) => `person:${(await spendApproval(deps, tx, act, approvalId)).approvedBy}` };
}

function distinct(keys: readonly ReportedKey[]): ReportedKey[] {
  return [...new Map(keys.map((key) => [key.spkiHash.toString('hex'), key])).values()];
}
