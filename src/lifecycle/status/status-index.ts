import { fitsPages, PAGES, SerialPages } from './status-index-pages.js';
import { type IssuedGroup, ROW_RECORD_BYTES, type RowGroup } from './status-index-source.js';
import type { StatusState } from './status-row.js';

/** What the index knows of a held, revoked or released certificate. */
export interface IndexedStatus {
  readonly state: StatusState;
  readonly reason: number;
  readonly revokedAt: Date;
}

export interface IndexedCertificate {
  readonly isIssued: boolean;
  readonly row: IndexedStatus | null;
}

interface Other extends IndexedCertificate {
  readonly expiryDay: number;
}

/**
 * Every issued certificate that has not expired more than {@link KEPT_DAYS} ago, and every status row of those, in memory
 * and exact: `good` is said of a recorded certificate only, so a filter that is right most of the time is of no use.
 * Knows no clock and no database; docs/decisions/status-index.md says what it weighs and what was tried beside it.
 */
export class StatusIndex {
  private readonly issued = new SerialPages(0);
  private readonly rows = new SerialPages(2);
  /** Serials that are not of our shape: legacy imports, by `issuer:hex`. */
  private readonly others = new Map<string, Other>();
  private sweptPage = 0;

  addIssued(issuerId: number, serial: Buffer, notAfter: Date): void {
    const day = dayOf(notAfter);
    if (!fitsPages(issuerId, serial)) {
      this.setOther(issuerId, serial, day, { isIssued: true });
      return;
    }
    this.issued.set(issuerId, serial, 0, day);
    const value = this.rows.get(issuerId, serial);
    // A row that went before its certificate would make a revoked one good.
    if (value !== undefined && day > (this.rows.expiryDay(issuerId, serial) ?? 0))
      this.rows.set(issuerId, serial, 0, day, [...value]);
  }

  addGroup({ issuerId, serials, expiryDay, otherHex }: IssuedGroup): void {
    for (let at = 0; at < serials.length; at += SERIAL_BYTES) {
      const serial = serials.subarray(at, at + SERIAL_BYTES);
      if (fitsPages(issuerId, serial)) this.issued.set(issuerId, serials, at, expiryDay);
      else this.setOther(issuerId, serial, expiryDay, { isIssued: true });
    }
    for (const hex of otherHex) this.setOther(issuerId, Buffer.from(hex, 'hex'), expiryDay, { isIssued: true });
  }

  /** @returns false when the index held the same already */
  setRow(issuerId: number, serial: Buffer, expiryDay: number, row: IndexedStatus): boolean {
    const value = packed(row);
    if (!fitsPages(issuerId, serial)) {
      const before = this.others.get(otherKey(issuerId, serial))?.row;
      this.setOther(issuerId, serial, expiryDay, { row });
      return !before || String(packed(before)) !== String(value);
    }
    const known = this.rows.get(issuerId, serial);
    if (known !== undefined && known[0] === value[0] && known[1] === value[1]) return false;
    const lastDay = Math.max(expiryDay, this.issued.expiryDay(issuerId, serial) ?? 0);
    this.rows.set(issuerId, serial, 0, lastDay, value);
    return true;
  }

  /** @param records  as {@link RowGroup} describes them; what is issued is in before */
  setRows({ issuerId, records, others }: RowGroup): void {
    for (let at = 0; at < records.length; at += ROW_RECORD_BYTES) {
      const serial = records.subarray(at, at + SERIAL_BYTES);
      this.setRow(issuerId, serial, records.readInt32BE(at + 24), {
        revokedAt: new Date(Number(records.readBigInt64BE(at + 16))),
        reason: records.readInt16BE(at + 28),
        state: STATES[records.readInt16BE(at + 30)] ?? 'revoked',
      });
    }
    for (const { serialHex, revokedAtMs, expiryDay, reason, state } of others) {
      const row = { revokedAt: new Date(revokedAtMs), reason, state: STATES[state] ?? 'revoked' };
      this.setRow(issuerId, Buffer.from(serialHex, 'hex'), expiryDay, row);
    }
  }

  look(issuerId: number, serial: Buffer): IndexedCertificate {
    if (!fitsPages(issuerId, serial)) {
      const { isIssued, row } = this.others.get(otherKey(issuerId, serial)) ?? ABSENT;
      return { isIssued, row };
    }
    const value = this.rows.get(issuerId, serial);
    const row = value === undefined ? null : unpacked(value);
    const isIssued = this.issued.has(issuerId, serial);
    return row === null ? (isIssued ? GOOD : ABSENT) : { isIssued, row };
  }

  /** Forgets a little of what expired before `now` − {@link KEPT_DAYS}; all of it after a few thousand calls. */
  sweepSome(now: Date): void {
    const firstDay = dayOf(keptFrom(now));
    this.issued.sweep(this.sweptPage, firstDay);
    this.rows.sweep(this.sweptPage, firstDay);
    this.sweptPage = (this.sweptPage + 1) % PAGES;
    if (this.sweptPage !== 0) return;
    for (const [key, { expiryDay }] of this.others) if (expiryDay < firstDay) this.others.delete(key);
  }

  clear(): void {
    this.issued.clear();
    this.rows.clear();
    this.others.clear();
  }

  /** `bytes`: of the arrays, with room for growth. */
  get counts(): { issued: number; rows: number; others: number; bytes: number } {
    const { size: others } = this.others;
    return { issued: this.issued.size, rows: this.rows.size, others, bytes: this.issued.bytes + this.rows.bytes };
  }

  private setOther(issuerId: number, serial: Buffer, expiryDay: number, change: Partial<IndexedCertificate>): void {
    const key = otherKey(issuerId, serial);
    const known = this.others.get(key);
    const lastDay = Math.max(expiryDay, known?.expiryDay ?? 0);
    this.others.set(key, { ...(known ?? ABSENT), ...change, expiryDay: lastDay });
  }
}

/** Certificates are remembered so long after they expired; of older ones the database is asked. */
export const KEPT_DAYS = 31;

/** What expired before this is not in the index any more. */
export function keptFrom(now: Date): Date {
  return new Date(now.getTime() - KEPT_DAYS * DAY_MS);
}

/** Whole days since 1970 of an instant, in UTC. */
export function dayOf(instant: Date): number {
  return Math.floor(instant.getTime() / DAY_MS);
}

const DAY_MS = 86_400_000;
const SERIAL_BYTES = 16;
const ABSENT: IndexedCertificate = { isIssued: false, row: null };
const GOOD: IndexedCertificate = { isIssued: true, row: null };
const STATES: readonly StatusState[] = ['held', 'revoked', 'released'];
const LOW_WORD = 4_294_967_296;

/** Milliseconds (53 bits), then reason (4 bits) and state (2 bits) above the 21 high ones. */
function packed({ state, reason, revokedAt }: IndexedStatus): readonly [number, number] {
  const ms = Math.max(0, revokedAt.getTime());
  const high = Math.floor(ms / LOW_WORD) & 0x1f_ffff;
  return [ms % LOW_WORD, high | ((reason & 15) << 21) | (STATES.indexOf(state) << 25)];
}

function unpacked(value: Uint32Array): IndexedStatus {
  const [low = 0, high = 0] = value;
  return {
    state: STATES[high >>> 25] ?? 'revoked',
    reason: (high >>> 21) & 15,
    revokedAt: new Date((high & 0x1f_ffff) * LOW_WORD + low),
  };
}

function otherKey(issuerId: number, serial: Buffer): string {
  return `${issuerId}:${serial.toString('hex')}`;
}
