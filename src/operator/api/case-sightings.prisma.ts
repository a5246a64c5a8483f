import type { Prisma } from '../../platform/db/client.prisma.js';

/** Where a case's unit showed itself: one for each gateway, cell and address. */
export interface Sighting {
  readonly gateway: string | null;
  readonly address: string | null;
  /** As it was claimed; null at authentication, where none is. */
  readonly cell: string | null;
  /** Of the line of the unit that has this cell, else of the address's own line; null where the record knows neither. */
  readonly district: string | null;
  readonly times: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

const EVIDENCE_MAX = 5_000;

/** From all evidence about the unit since the case, soft included: each alone wakes nobody, together they are its way. */
export async function caseSightings(
  prisma: Prisma,
  { unitId, openedAt }: { unitId: number | null; openedAt: Date },
): Promise<Sighting[]> {
  if (unitId === null) return [];
  const rows = await prisma.evidence.findMany({
    where: { unitId, at: { gte: openedAt } },
    orderBy: { at: 'asc' },
    take: EVIDENCE_MAX,
    select: { at: true, facts: true },
  });
  const seen = rows.map(({ at, facts }) => ({ at, ...placeOf(facts) })).filter(({ address }) => address !== null);
  const cells = await prisma.cell.findMany({
    where: { id: { in: [...new Set(seen.flatMap(({ cell }) => cell ?? []))] } },
    select: { id: true, unit: { select: { line: { select: { region: true } } } } },
  });
  const lines = await prisma.line.findMany({
    where: { name: { in: [...new Set(seen.flatMap(({ line }) => line ?? []))] } },
    select: { name: true, region: true },
  });
  const districtOfCell = new Map(cells.map(({ id, unit }) => [id, unit?.line?.region ?? null]));
  const districtOfLine = new Map(lines.map(({ name, region }) => [name, region]));
  const sightings = new Map<string, Sighting>();
  for (const { at, gateway, address, cell, line } of seen) {
    const key = JSON.stringify([gateway, address, cell]);
    const known = sightings.get(key);
    const district = districtOfCell.get(cell ?? '') || districtOfLine.get(line ?? '') || null;
    sightings.set(key, {
      ...{ gateway, address, cell, district },
      times: (known?.times ?? 0) + 1,
      firstAt: known?.firstAt ?? at,
      lastAt: at,
    });
  }
  return [...sightings.values()];
}

function placeOf(facts: string): Record<'gateway' | 'address' | 'cell' | 'line', string | null> {
  const body = JSON.parse(facts) as Record<string, unknown>;
  const text = (name: string): string | null => (typeof body[name] === 'string' ? body[name] : null);
  return { gateway: text('gateway'), address: text('address'), cell: text('cell'), line: text('line') };
}
