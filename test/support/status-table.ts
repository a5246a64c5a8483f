/**
 * Certificates of every kind, and what each verifier must say of them (REV-2, REV-3). One table for OpenSSL, GnuTLS, curl and
 * strongSwan; a verifier that sees less than the others is named in its row, with the reason.
 */
import { crlPartFile, shardOfSerial, shardPart } from '../../src/x509/crl-part.js';
import { openStatusRooms, type StatusRooms } from './status-rooms.js';
import type { Said } from './status-verifiers.js';
import type { StatusWorld, WorldCertificate } from './status-world.js';

interface Row {
  readonly ocsp: Said;
  readonly crl: Said;
  /** Verifiers that see less, by the first word of their name. */
  readonly but?: Readonly<Record<string, Said>>;
}

export const STATUS_TABLE = {
  good: { ocsp: 'good', crl: 'good' },
  revoked: { ocsp: 'revoked', crl: 'revoked' },
  // The base of the delta has it, and the delta need not say it again.
  'revoked before the base': { ocsp: 'revoked', crl: 'revoked' },
  // OpenSSL and GnuTLS do not tell a hold in a CRL from a revocation, nor does ocsptool: all keep the unit out.
  held: { ocsp: 'held', crl: 'held', but: { ocsptool: 'revoked', 'openssl verify': 'revoked', certtool: 'revoked' } },
  // Held in the base; the delta takes it away again (removeFromCRL).
  released: { ocsp: 'good', crl: 'good' },
  // strongSwan asks nobody about what has ended.
  expired: { ocsp: 'good', crl: 'expired', but: { strongswan: 'expired' } },
  // certtool, too, looks no further than the end of its life.
  'expired, revoked before': {
    ocsp: 'revoked',
    crl: 'revoked',
    but: { certtool: 'expired', strongswan: 'expired' },
  },
  // Signed with our CA's key and recorded nowhere. A verifier that knows only CRLs lets it in (rules 9).
  'never issued': { ocsp: 'never issued', crl: 'good' },
} as const satisfies Readonly<Record<string, Row>>;

export type StatusKind = keyof typeof STATUS_TABLE;
export const STATUS_KINDS = Object.keys(STATUS_TABLE) as readonly StatusKind[];

/** @param who  begins with a name that rows may make an exception for */
export function expectedOf(kind: StatusKind, how: 'ocsp' | 'crl', who: string): Said {
  const { but = {}, ...row }: Row = STATUS_TABLE[kind];
  const found = Object.entries(but).find(([name]) => who.startsWith(name));
  return found?.[1] ?? row[how];
}

/** Kinds that the newest complete CRL lists. */
export const LISTED_KINDS: readonly StatusKind[] = [
  'revoked',
  'revoked before the base',
  'held',
  'expired, revoked before',
];

const HOUR_SECONDS = 3_600;
const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR_SECONDS * 1_000);
const kim = { actor: 'person:kim', personId: null, reason: 'keyCompromise', note: 'stolen' } as const;
const hold = { ...kim, reason: 'certificateHold' } as const;

export interface StatusCertificates {
  readonly of: Readonly<Record<StatusKind, WorldCertificate>>;
  /** What happens after the base was published: a revocation, a hold, a release. */
  decideAfterBase(): Promise<void>;
}

/**
 * One certificate of each kind. What was decided before the base has been decided.
 *
 * @param shards  they name their shard of so many and not the complete CRL
 */
export async function makeStatusCertificates(
  world: StatusWorld,
  rooms: Pick<StatusRooms, 'revocation'>,
  shards?: number,
): Promise<StatusCertificates> {
  const made = new Map<StatusKind, WorldCertificate>();
  const units = new Map<StatusKind, number>();
  const crlFileOf =
    shards === undefined
      ? {}
      : {
          crlFile: (label: string, serial: Buffer) =>
            crlPartFile(label, shardPart({ count: shards, index: shardOfSerial(serial, shards) })),
        };
  for (const kind of STATUS_KINDS) {
    if (kind === 'never issued') continue;
    const unit = await world.addUnit();
    const isOver = kind.startsWith('expired') ? { notBefore: hoursAgo(3), lifeSeconds: 2 * HOUR_SECONDS } : {};
    units.set(kind, unit.id);
    made.set(kind, await world.issue({ unitId: unit.id, generation: 1, ...crlFileOf, ...isOver }));
  }
  // Its hour has passed, so that the record must hold it if it exists.
  const unrecorded = await world.issue({ state: 'signing', notBefore: hoursAgo(4), ...crlFileOf });
  await world.db.pool.query('DELETE FROM issuance_intent WHERE serial = $1', [unrecorded.serial]);
  made.set('never issued', unrecorded);

  const by = (kind: StatusKind) => ({ selection: { by: 'unit', unitId: units.get(kind) ?? 0 } }) as const;
  await rooms.revocation.revoke({ ...kim, ...by('revoked before the base') });
  await rooms.revocation.hold({ ...hold, ...by('released') });
  const earlier = openStatusRooms(world, { now: () => hoursAgo(2) });
  await earlier.revocation.revoke({ ...kim, ...by('expired, revoked before') });
  earlier.remove();
  return {
    of: Object.fromEntries(made) as Record<StatusKind, WorldCertificate>,
    decideAfterBase: async () => {
      await rooms.revocation.revoke({ ...kim, ...by('revoked') });
      await rooms.revocation.hold({ ...hold, ...by('held') });
      await rooms.revocation.release({ ...kim, unitId: units.get('released') ?? 0 });
    },
  };
}
