export const FINDING_CODES = {
  ENTRY_CHANGED: 'an entry is not what was hashed',
  ENTRY_REWRITTEN: 'an entry was replaced together with its hash',
  ENTRY_MISSING: 'entries are gone',
  ENTRY_OUT_OF_ORDER: 'an entry has a number that cannot be',
  ENTRY_BEYOND_END: 'an entry lies beyond what the sequencer numbered',
  LEDGER_CUT: 'the end of the ledger is gone',
  HEAD_CONTRADICTS: 'a signed head shows other entries',
  HEAD_FORGED: 'a head is not what the audit key signed',
  HEAD_MISSING: 'a signed head is gone',
  ANCHOR_CONTRADICTS: 'an anchor shows other entries or another head',
  ANCHOR_FORGED: 'an anchor is not what left the host',
  ANCHOR_MISSING: 'an anchor is gone',
  NO_CERTIFICATE: 'nothing says which key signs heads',
  NO_ANCHORS: 'anchors were not compared',
} as const;
export type FindingCode = keyof typeof FINDING_CODES;

export interface Finding {
  readonly code: FindingCode;
  readonly severity: 'critical' | 'warning';
  readonly epoch: number | null;
  /** First entry concerned. */
  readonly seq: number | null;
  /** Last entry concerned, where a range is known. */
  readonly seqTo: number | null;
  readonly message: string;
}

/** Details kept of one report; beyond it only the counts grow, so that a ruined ledger cannot fill the memory. */
const FINDINGS_KEPT = 200;

export class Findings {
  readonly kept: Finding[] = [];
  readonly counts = new Map<FindingCode, number>();
  #critical = 0;

  add(
    code: FindingCode,
    message: string,
    place: { epoch?: number; seq?: number; seqTo?: number; severity?: 'warning' } = {},
  ): void {
    const severity = place.severity ?? 'critical';
    if (severity === 'critical') this.#critical += 1;
    this.counts.set(code, (this.counts.get(code) ?? 0) + 1);
    if (this.kept.length >= FINDINGS_KEPT) return;
    const { epoch = null, seq = null, seqTo = null } = place;
    this.kept.push({ code, severity, epoch, seq, seqTo, message });
  }

  get critical(): number {
    return this.#critical;
  }
}
