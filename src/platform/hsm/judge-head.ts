/** May this audit head be signed? Only one that is proved to extend the last one signed (rules 2.4, AUD-2). */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { EMPTY_ROOT, verifyConsistency } from '../ledger/merkle.js';
import type { SignRequest } from '../signer.js';
import { type AuditHead, auditHeadName, parseAuditHead } from './audit-head.js';
import { writeDurably } from './durable-file.js';
import { deny, Refusal } from './refusal.js';

const evidenceSchema = z.strictObject({
  oldSize: z.int().min(0),
  proof: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(64),
});

const stateSchema = z.strictObject({
  installation: z.string(),
  epoch: z.int(),
  size: z.int(),
  rootHex: z.string().regex(/^[0-9a-f]{64}$/),
  /** Undefined before the first head. */
  chainHex: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  at: z.string(),
});
export type LastHead = z.infer<typeof stateSchema>;

export interface HeadJudgement {
  readonly installation: string;
  readonly epochMax: number;
  /** The ceremony writes the first one, of size 0: none at all means that the file was taken away. */
  readonly last: LastHead | undefined;
  readonly nowMs: number;
  readonly skewMs: number;
}

/**
 * @returns what to remember once it is signed
 * @throws Refusal; FemtoError BAD_REQUEST for a malformed head
 */
export function judgeHead(request: SignRequest, by: HeadJudgement): LastHead {
  const head = parseAuditHead(request.tbs.toString('latin1'));
  if (request.name !== auditHeadName(head)) deny('The name of the request is not head:<epoch>:<size> of the head.');
  if (head.installation !== by.installation) deny('The head belongs to another installation.');
  if (head.epoch > by.epochMax) deny('The epoch is above epochMax of signer.yaml; a new epoch takes two people there.');
  if (head.at.getTime() > by.nowMs + by.skewMs) deny('The head lies in the future.');
  const { oldSize, proof } = readEvidence(request.evidence);
  const last = lastOfEpoch(head, by);
  if (oldSize !== (last?.size ?? 0))
    deny(`The proof starts at size ${oldSize}, the last signed head has ${last?.size ?? 0}.`);
  const extended = verifyConsistency({
    oldSize,
    newSize: head.size,
    oldRoot: last ? Buffer.from(last.rootHex, 'hex') : EMPTY_ROOT,
    newRoot: Buffer.from(head.rootHex, 'hex'),
    proof: proof.map((hex) => Buffer.from(hex, 'hex')),
  });
  // Asked again after a lost answer: the same head, or a fork of the chain behind one Merkle root.
  if (last?.size === head.size && last.chainHex !== undefined && last.chainHex !== head.chainHex) {
    deny('A head of this size was signed with another chain hash.');
  }
  if (!extended) deny('The head is not proved to extend the last signed head: the ledger was changed behind it.');
  return {
    installation: head.installation,
    epoch: head.epoch,
    size: head.size,
    rootHex: head.rootHex,
    chainHex: head.chainHex,
    at: head.at.toISOString(),
  };
}

/** A new epoch starts from an empty tree; an older one never comes back. */
function lastOfEpoch(head: AuditHead, by: HeadJudgement): LastHead | undefined {
  if (!by.last) deny('last-head.json is gone, so nothing can be proved; restore it from the newest anchor.');
  if (head.epoch < by.last.epoch) deny('The epoch is older than that of the last signed head.');
  return head.epoch > by.last.epoch ? undefined : by.last;
}

function readEvidence(evidence: Buffer | undefined): z.infer<typeof evidenceSchema> {
  if (!evidence) deny('An audit head needs its consistency proof as evidence.');
  let document: unknown;
  try {
    document = JSON.parse(evidence.toString('utf8'));
  } catch (thrown) {
    if (!(thrown instanceof SyntaxError)) throw thrown;
    throw new Refusal('BAD_REQUEST', 'The evidence of the head is not JSON {oldSize, proof}.');
  }
  const parsed = evidenceSchema.safeParse(document);
  if (!parsed.success)
    throw new Refusal('BAD_REQUEST', 'The evidence of the head is not {oldSize, proof: [64 hex …]}.');
  return parsed.data;
}

/** What the ceremony writes: the empty tree of epoch 1. */
export function firstLastHead(installation: string, at: Date): LastHead {
  return { installation, epoch: 1, size: 0, rootHex: EMPTY_ROOT.toString('hex'), at: at.toISOString() };
}

/** @throws Error when the file is damaged: then no head is signed until a person restores it */
export function readLastHead(stateDir: string): LastHead | undefined {
  const path = join(stateDir, LAST_HEAD_FILE);
  return existsSync(path) ? stateSchema.parse(JSON.parse(readFileSync(path, 'utf8'))) : undefined;
}

export function writeLastHead(stateDir: string, last: LastHead): void {
  writeDurably(join(stateDir, LAST_HEAD_FILE), `${JSON.stringify(last)}\n`);
}

const LAST_HEAD_FILE = 'last-head.json';
