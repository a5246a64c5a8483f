import type { Prisma } from '../../platform/db/client.prisma.js';
import type { Approval as ApprovalRow, Person as PersonRow } from '../../platform/db/generated/client.js';
import type { Approval, ApprovalStore, Person, PersonRole, PersonStore } from './person.js';

export function personStore(prisma: Prisma): PersonStore {
  return {
    byName: async (name) => asPerson(await prisma.person.findUnique({ where: { name } })),
    byId: async (id) => asPerson(await prisma.person.findUnique({ where: { id } })),
    byToken: async (tokenHash, purpose, now) => {
      const token = await prisma.accessToken.findUnique({
        where: { tokenHash: Uint8Array.from(tokenHash) },
        include: { person: true },
      });
      if (!token || token.purpose !== purpose || token.spentAt || token.expiresAt <= now) return null;
      return token.person.state === 'disabled' ? null : asPerson(token.person);
    },
    add: async ({ name, role, makerId, at }) => {
      const row = await prisma.person.create({ data: { name, role, makerId, state: 'invited', createdAt: at } });
      return toPerson(row);
    },
    addToken: async ({ hash, personId, purpose, createdAt, expiresAt }) => {
      await prisma.accessToken.create({
        data: { tokenHash: Uint8Array.from(hash), personId, purpose, createdAt, expiresAt },
      });
    },
    spendLink: async (tokenHash, now) => {
      const hash = Uint8Array.from(tokenHash);
      const { count } = await prisma.accessToken.updateMany({
        where: { tokenHash: hash, purpose: 'sign-in-link', spentAt: null, expiresAt: { gt: now } },
        data: { spentAt: now },
      });
      if (count === 0) return null;
      const token = await prisma.accessToken.findUnique({ where: { tokenHash: hash }, include: { person: true } });
      return asPerson(token?.person ?? null);
    },
    setFirstKey: async (personId, publicKeySpki) => {
      const { count } = await prisma.person.updateMany({
        where: { id: personId, publicKeySpki: null, state: 'invited' },
        data: { publicKeySpki: Uint8Array.from(publicKeySpki), state: 'active' },
      });
      return count === 1;
    },
  };
}

export function approvalStore(prisma: Prisma): ApprovalStore {
  return {
    add: async (approval) => {
      const row = await prisma.approval.create({
        data: {
          ...approval,
          requestHash: Uint8Array.from(approval.requestHash),
          requestSignature: Uint8Array.from(approval.requestSignature),
          state: 'open',
        },
      });
      return toApproval(row);
    },
    byId: async (id) => {
      const row = await prisma.approval.findUnique({ where: { id } });
      return row ? toApproval(row) : null;
    },
    list: async (state) => {
      const rows = await prisma.approval.findMany({
        where: state ? { state } : {},
        orderBy: { id: 'desc' },
        take: 200,
      });
      return rows.map(toApproval);
    },
    approve: async (id, by, signature, now) => {
      const { count } = await prisma.approval.updateMany({
        where: { id, state: 'open', expiresAt: { gt: now }, requestedBy: { not: by } },
        data: { state: 'approved', approvedBy: by, approvalSignature: Uint8Array.from(signature) },
      });
      return count === 1;
    },
    // In the executor's own transaction, so that an approval is spent exactly when the act commits.
    markExecuted: async (tx, { id, requestHash }, now) => {
      const { rowCount } = await tx.query(
        `UPDATE approval SET state = 'executed', executed_at = $2 WHERE id = $1 AND state = 'approved'`,
        [id, now],
      );
      if (rowCount !== 1) return false;
      const spent = await tx.query(
        'INSERT INTO approval_spent (request_hash, approval_id, at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING',
        [requestHash, id, now],
      );
      return spent.rowCount === 1;
    },
  };
}

function asPerson(row: PersonRow | null): Person | null {
  return row ? toPerson(row) : null;
}

function toPerson(row: PersonRow): Person {
  return {
    id: row.id,
    name: row.name,
    role: row.role as PersonRole,
    makerId: row.makerId,
    state: row.state as Person['state'],
    publicKeySpki: row.publicKeySpki && Buffer.from(row.publicKeySpki),
  };
}

function toApproval(row: ApprovalRow): Approval {
  return {
    id: Number(row.id),
    kind: row.kind,
    request: row.request,
    requestHash: Buffer.from(row.requestHash),
    selectionCount: row.selectionCount,
    requestedBy: row.requestedBy,
    requestSignature: Buffer.from(row.requestSignature),
    approvedBy: row.approvedBy,
    approvalSignature: row.approvalSignature && Buffer.from(row.approvalSignature),
    state: row.state as Approval['state'],
    createdAt: row.createdAt,
    expiresAt: row.expiresAt,
  };
}
