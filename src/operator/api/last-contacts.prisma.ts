import type { Prisma } from '../../platform/db/client.prisma.js';

/** Where a unit showed itself at a gateway lately. */
export interface LastContact {
  readonly at: Date;
  readonly gateway: string | null;
  readonly address: string | null;
  readonly line: string | null;
  readonly verdict: string;
}

const CONTACTS_SHOWN = 5;

/** What people want to know who report a unit lost (LST-1); newest first. */
export async function lastContacts(prisma: Prisma, unitId: number): Promise<LastContact[]> {
  const decisions = await prisma.decision.findMany({
    where: { unitId },
    orderBy: { at: 'desc' },
    take: CONTACTS_SHOWN,
    select: { at: true, gatewayId: true, address: true, lineId: true, verdict: true },
  });
  const [machines, lines] = await Promise.all([
    prisma.machine.findMany({
      where: { id: { in: decisions.map(({ gatewayId }) => gatewayId) } },
      select: { id: true, name: true },
    }),
    prisma.line.findMany({
      where: { id: { in: decisions.flatMap(({ lineId }) => lineId ?? []) } },
      select: { id: true, name: true },
    }),
  ]);
  const gatewayOf = new Map(machines.map(({ id, name }) => [id, name]));
  const lineOf = new Map(lines.map(({ id, name }) => [id, name]));
  return decisions.map(({ at, gatewayId, address, lineId, verdict }) => ({
    at,
    gateway: gatewayOf.get(gatewayId) ?? null,
    address,
    line: lineId === null ? null : (lineOf.get(lineId) ?? null),
    verdict,
  }));
}
