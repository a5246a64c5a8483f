import { lateness } from '../../lifecycle/incident/index.js';
import type { Prisma } from '../../platform/db/client.prisma.js';
import { caseSightings } from './case-sightings.prisma.js';
import { lastContacts } from './last-contacts.prisma.js';
import type { OperatorViews } from './views.js';

/** The views over Prisma. Bytes become hex, bigint becomes number: what comes out is JSON. */
export function operatorViews(prisma: Prisma): OperatorViews {
  return {
    overview: async (now) => ({
      installation: await one(
        prisma.installation.findUnique({
          where: { id: 1 },
          select: { operator: true, realm: true, mode: true, epoch: true, admissionFrozen: true, issuingStopped: true },
        }),
      ),
      frozenModels: await many(prisma.modelFreeze.findMany({ orderBy: { model: 'asc' } })),
      units: await prisma.unit
        .groupBy({ by: ['state'], _count: true })
        .then((rows) => rows.map((row) => ({ state: row.state, count: row._count }))),
      overdueRenewals: await prisma.renewalTask.count({ where: { state: 'overdue' } }),
      openCases: await prisma.incidentCase.count({ where: { state: { not: 'closed' } } }),
      deadLetters: await prisma.deadLetter.count({ where: { resolvedAt: null } }),
      unsequencedLedgerEntries: await prisma.ledgerInbox.count(),
      heartbeatAgeSeconds: await prisma.heartbeat
        .findUnique({ where: { id: 1 } })
        .then((row) => (row ? Math.round((now.getTime() - row.at.getTime()) / 1000) : null)),
    }),
    makers: () =>
      many(
        prisma.maker.findMany({
          orderBy: { name: 'asc' },
          select: { name: true, euiPrefixes: true, state: true, createdAt: true },
        }),
      ),
    batches: () =>
      many(
        prisma.batch.findMany({
          orderBy: { id: 'desc' },
          take: 500,
          select: {
            id: true,
            name: true,
            model: true,
            state: true,
            unitCount: true,
            submittedAt: true,
            acceptedAt: true,
            closedAt: true,
            maker: { select: { name: true } },
          },
        }),
      ).then((rows) => rows.map(({ maker, ...row }) => ({ ...row, maker: (maker as { name: string }).name }))),
    lines: () =>
      many(prisma.line.findMany({ orderBy: { name: 'asc' }, take: 1000, select: { name: true, region: true } })),
    machines: (kind) =>
      many(
        prisma.machine.findMany({
          where: kind ? { kind } : {},
          orderBy: { name: 'asc' },
          select: {
            kind: true,
            name: true,
            state: true,
            dnsName: true,
            requestedBy: true,
            approvedAt: true,
            notAfter: true,
          },
        }),
      ),
    machine: async (name) => {
      const row = await prisma.machine.findUnique({ where: { name } });
      if (!row) return null;
      const certificate =
        row.issuerId === null || row.serial === null || row.notAfter === null
          ? null
          : await prisma.certificate.findFirst({
              where: { issuerId: row.issuerId, serial: row.serial, notAfter: row.notAfter },
            });
      return {
        fields: plain({
          kind: row.kind,
          name: row.name,
          state: row.state,
          dnsName: row.dnsName,
          requestedBy: row.requestedBy,
          approvedAt: row.approvedAt,
          serial: row.serial,
          notAfter: row.notAfter,
        }),
        certificateDer: certificate && Buffer.from(certificate.der),
      };
    },
    units: async ({ state, batch, model, region, after, limit }) =>
      (
        await many(
          prisma.unit.findMany({
            where: {
              ...(state ? { state } : {}),
              ...(model ? { model } : {}),
              ...(batch ? { batch: { name: batch } } : {}),
              ...(region ? { line: { region } } : {}),
              ...(after ? { serialNumber: { gt: after } } : {}),
            },
            orderBy: { serialNumber: 'asc' },
            take: limit,
            select: {
              serialNumber: true,
              fqdn: true,
              model: true,
              state: true,
              stateReason: true,
              lastContactAt: true,
              line: { select: { region: true } },
            },
          }),
        )
      ).map(({ line, ...row }) => ({ ...row, region: (line as { region: string } | null)?.region ?? null })),
    unit: async (serialNumber) => {
      const row = await prisma.unit.findUnique({
        where: { serialNumber },
        include: { line: true, cellUnitId: true, maker: true, batch: true },
      });
      if (!row) return null;
      const [slots, certificates, status, history, cases, contacts] = await Promise.all([
        prisma.lineageSlot.findMany({
          where: { unitId: row.id },
          orderBy: [{ lineageId: 'asc' }, { generation: 'asc' }, { id: 'asc' }],
        }),
        prisma.certificate.findMany({
          where: { unitId: row.id },
          orderBy: { issuedAt: 'asc' },
          select: { purpose: true, serial: true, generation: true, notBefore: true, notAfter: true, issuedAt: true },
        }),
        prisma.revokedCertificate.findMany({ where: { unitId: row.id } }),
        prisma.unitHistory.findMany({ where: { unitId: row.id }, orderBy: { id: 'asc' }, take: 200 }),
        prisma.incidentCase.findMany({ where: { unitId: row.id }, orderBy: { id: 'desc' }, take: 20 }),
        lastContacts(prisma, row.id),
      ]);
      const statusOf = new Map(status.map((entry) => [hex(entry.serial), entry.state]));
      return plain({
        serialNumber: row.serialNumber,
        fqdn: row.fqdn,
        eui: row.eui,
        maker: row.maker.name,
        batch: row.batch.name,
        model: row.model,
        profile: row.profile,
        state: row.state,
        stateReason: row.stateReason,
        line: row.line?.name ?? null,
        cell: row.cellUnitId?.id ?? null,
        keyProtection: row.keyProtection,
        lastContactAt: row.lastContactAt,
        lastContacts: contacts,
        generations: slots.map((slot) => ({
          lineage: slot.lineageId,
          generation: slot.generation,
          state: slot.state,
          serial: slot.serial,
          notAfter: slot.notAfter,
          renewFrom: slot.renewFrom,
          renewUntil: slot.renewUntil,
          confirmedAt: slot.confirmedAt,
          slotId: slot.id,
        })),
        certificates: certificates.map((certificate) => ({
          ...certificate,
          status: statusOf.get(hex(certificate.serial)) ?? 'good',
        })),
        history: history.map(({ fromState, toState, actor, reason, at }) => ({
          at,
          from: fromState,
          to: toState,
          actor,
          reason,
        })),
        cases: cases.map(({ id, kind, grade, state, openedAt, evidenceCount }) => ({
          id,
          kind,
          grade,
          state,
          openedAt,
          evidenceCount,
        })),
      });
    },
    certificate: async (serialHex) => {
      const serial = Uint8Array.from(Buffer.from(serialHex, 'hex'));
      const row = await prisma.certificate.findFirst({ where: { serial } });
      if (!row) return null;
      const status = await prisma.revokedCertificate.findFirst({ where: { serial } });
      return plain({
        ...row,
        der: Buffer.from(row.der).toString('base64'),
        status: status?.state ?? 'good',
        reason: status?.reason ?? null,
      });
    },
    overdue: async () => {
      const tasks = await prisma.renewalTask.findMany({
        where: { state: { in: ['due', 'reminded', 'overdue', 'dead'] } },
        orderBy: { openedAt: 'asc' },
        take: 500,
      });
      const slots = await prisma.lineageSlot.findMany({
        where: { id: { in: tasks.map(({ slotId }) => slotId) } },
        select: { id: true, notAfter: true },
      });
      const ends = new Map(slots.map(({ id, notAfter }) => [id, notAfter]));
      return many(Promise.resolve(tasks.map((task) => ({ ...task, notAfter: ends.get(task.slotId) ?? null }))));
    },
    deadLetters: () =>
      many(prisma.deadLetter.findMany({ where: { resolvedAt: null }, orderBy: { id: 'desc' }, take: 200 })),
    cases: (state) =>
      many(prisma.incidentCase.findMany({ where: state ? { state } : {}, orderBy: { id: 'desc' }, take: 200 })),
    case: async (id, now) => {
      const found = await prisma.incidentCase.findUnique({ where: { id }, include: { events: true, duties: true } });
      if (!found) return null;
      const { events, duties, ...row } = found;
      const evidence = await prisma.evidence.findMany({ where: { caseId: id }, orderBy: { id: 'asc' }, take: 1000 });
      return plain({
        ...row,
        owed: duties
          .sort((a, b) => a.dueAt.getTime() - b.dueAt.getTime())
          .map(({ duty, pack, dueAt, doneAt, receipt }) => ({
            duty,
            pack,
            dueAt,
            doneAt,
            receipt,
            late: lateness(dueAt, doneAt, now),
          })),
        timeline: [
          { at: row.openedAt, kind: 'opened', actor: 'system:detection', note: row.kind },
          ...events.map(({ at, kind, actor, note }) => ({ at, kind, actor, note })),
          ...evidence.map(({ at, code, grade, facts }) => ({
            at,
            kind: 'evidence',
            actor: 'system:detection',
            note: `${code} (${grade}), ledger ${ledgerOf(facts)}`,
          })),
        ].sort((a, b) => a.at.getTime() - b.at.getTime()),
        seen: await caseSightings(prisma, row),
      });
    },
    ledger: ({ subject, kind, limit }) =>
      many(
        prisma.ledger.findMany({
          where: { ...(subject ? { subject } : {}), ...(kind ? { kind } : {}) },
          orderBy: [{ epoch: 'desc' }, { seq: 'desc' }],
          take: limit,
          select: { epoch: true, seq: true, at: true, kind: true, subject: true, body: true, hash: true },
        }),
      ).then((rows) => rows.map((row) => ({ ...row, body: JSON.parse(String(row['body'])) }))),
    crls: () =>
      many(prisma.$queryRaw<
        object[]
      >`SELECT DISTINCT ON (c.issuer_id) i.label AS issuer, c.number, c.this_update, c.next_update, c.entry_count
                                       FROM crl c JOIN issuer i ON i.id = c.issuer_id ORDER BY c.issuer_id, c.number DESC`),
  };
}

/** Which entry an evidence was read from. */
function ledgerOf(facts: string): string {
  const { source } = JSON.parse(facts) as { source?: { epoch?: unknown; seq?: unknown } };
  return source ? `${source.epoch}:${source.seq}` : 'unknown';
}

async function one(row: Promise<object | null>): Promise<unknown> {
  return plain(await row);
}

async function many(rows: Promise<object[]>): Promise<Record<string, unknown>[]> {
  return (await rows).map((row) => plain(row) as Record<string, unknown>);
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function plain<T>(value: T): Record<string, unknown>;
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (value instanceof Uint8Array) return hex(value);
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((inner) => plain(inner));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, plain(inner)]));
}
