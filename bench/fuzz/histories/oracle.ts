/**
 * Says by itself, from what was sent and answered, when a history has shown two holders of one lineage. It shares nothing
 * with the product's tables: it knows certificates, who followed whom, and which keys were proved when.
 */
export interface Followed {
  readonly spki: string;
  readonly generation: number;
  /** Key of the certificate that it follows; null for the first. */
  readonly after: string | null;
  confirmedAtMs: number | null;
}

export class Oracle {
  private readonly certificates = new Map<string, Followed>();
  /** Keys that were proved live against another successor of the same certificate, by the key of that certificate. */
  private readonly proved = new Map<string, Set<string>>();
  /** In words, the first time that evidence had to be strong; null while it had not. */
  shown: string | null = null;
  /** Keys that were made after an answer was lost, so that the server saw another key than before. */
  newKeysAfterLoss = 0;

  issued(spki: string, after: string | null): void {
    const before = after === null ? undefined : this.certificates.get(after);
    if (this.certificates.has(spki)) return;
    this.certificates.set(spki, { spki, after, generation: (before?.generation ?? 0) + 1, confirmedAtMs: null });
  }

  confirmed(spki: string, atMs: number): void {
    const certificate = this.certificates.get(spki);
    if (certificate === undefined) return;
    certificate.confirmedAtMs ??= atMs;
    this.note(certificate);
  }

  /** A handshake or IKE AUTH that ended now, under this key, and was looked at. */
  used(spki: string): void {
    const certificate = this.certificates.get(spki);
    // Before there was anything to compete with, it proves nothing (rules section 4).
    if (certificate !== undefined && this.rivals(certificate).length > 0) this.note(certificate);
  }

  /** Another key was asked for under this one, proved now, after a successor of it was confirmed. */
  askedFor(next: string, under: string): void {
    const rival = [...this.certificates.values()].some(
      ({ after, spki, confirmedAtMs }) => after === under && spki !== next && confirmedAtMs !== null,
    );
    if (rival) this.add(under, next);
  }

  /** IKE AUTH under this key at a gateway. */
  atGateway(spki: string, atMs: number): void {
    const mine = this.certificates.get(spki);
    const followed = [...this.certificates.values()].some(
      ({ after, confirmedAtMs }) => after === spki && confirmedAtMs !== null && atMs - confirmedAtMs > HOUR_MS,
    );
    if (mine !== undefined && followed)
      this.show(`generation ${mine.generation} was used more than 1 h after its successor was confirmed`);
    this.used(spki);
  }

  show(what: string): void {
    this.shown ??= what;
  }

  private rivals({ spki, after }: Followed): Followed[] {
    return [...this.certificates.values()].filter((other) => other.after === after && other.spki !== spki);
  }

  private note({ spki, after }: Followed): void {
    if (after !== null) this.add(after, spki);
  }

  private add(under: string, spki: string): void {
    const keys = this.proved.get(under) ?? new Set<string>();
    this.proved.set(under, keys.add(spki));
    if (keys.size >= 2) this.show('the keys of two different successors were both proved live');
  }
}

const HOUR_MS = 3_600_000;
