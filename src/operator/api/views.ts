/** What people look at. A reader of its own, so that no screen shapes a store that decisions use. */
export interface OperatorViews {
  overview(now: Date): Promise<Record<string, unknown>>;
  makers(): Promise<Record<string, unknown>[]>;
  batches(): Promise<Record<string, unknown>[]>;
  lines(): Promise<Record<string, unknown>[]>;
  machines(kind?: string): Promise<Record<string, unknown>[]>;
  machine(name: string): Promise<{ fields: Record<string, unknown>; certificateDer: Buffer | null } | null>;
  units(filter: UnitFilter): Promise<Record<string, unknown>[]>;
  /** Everything about one unit: state, bindings, last contacts, generations, certificates with status, history, open case. */
  unit(serialNumber: string): Promise<Record<string, unknown> | null>;
  certificate(serialHex: string): Promise<Record<string, unknown> | null>;
  overdue(): Promise<Record<string, unknown>[]>;
  deadLetters(): Promise<Record<string, unknown>[]>;
  cases(state?: string): Promise<Record<string, unknown>[]>;
  /** With what it owes, and everything that happened in order of time; null: there is none. */
  case(id: number, now: Date): Promise<Record<string, unknown> | null>;
  ledger(filter: {
    subject?: string | undefined;
    kind?: string | undefined;
    limit: number;
  }): Promise<Record<string, unknown>[]>;
  crls(): Promise<Record<string, unknown>[]>;
}

export interface UnitFilter {
  readonly state?: string | undefined;
  readonly batch?: string | undefined;
  readonly model?: string | undefined;
  /** Of its line. */
  readonly region?: string | undefined;
  /** Serial number of the last row of the page before. */
  readonly after?: string | undefined;
  readonly limit: number;
}
