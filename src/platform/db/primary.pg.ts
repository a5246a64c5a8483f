import pg from 'pg';
import { FemtoError } from '../errors.js';
import { type DatabasePlace, parseDatabaseUrl } from './database-url.js';

/** How long one server is given to say whether it is the primary. */
const ASK_MS_MAX = 2_000;

// A primary's position names its timeline, which every promotion raises; a standby has no position of its own.
const ROLE = `SELECT CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END AS segment`;

interface Primary {
  readonly place: DatabasePlace;
  readonly timeline: number;
}

/**
 * Finds the primary among the servers of one URL and remembers it until somebody doubts it. It never goes back to an older
 * timeline: a former primary that returns from behind a cut link still calls itself one, and what it would commit is lost.
 */
class PrimarySearch {
  #known: Primary | undefined;
  #newestTimeline = 0;
  #asking: Promise<Primary> | undefined;

  constructor(
    private readonly url: string,
    private readonly places: readonly DatabasePlace[],
  ) {}

  /** @throws FemtoError RETRY_LATER where none of the servers is a primary of the newest timeline seen */
  async locate(): Promise<DatabasePlace> {
    if (this.#known) return this.#known.place;
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    this.#known = await this.#asking;
    return this.#known.place;
  }

  doubt(): void {
    this.#known = undefined;
  }

  /** @throws FemtoError RETRY_LATER where this connection leads to a standby, or to a primary that was replaced */
  async confirm(client: pg.Client, place: DatabasePlace): Promise<void> {
    const timeline = await timelineOf(client);
    if (timeline !== undefined && timeline >= this.#newestTimeline) {
      this.#newestTimeline = timeline;
      return;
    }
    this.doubt();
    throw away(`${nameOf(place)} is ${timeline === undefined ? 'a standby' : 'a primary that was replaced'}`);
  }

  async #ask(): Promise<Primary> {
    const answers = await Promise.all(this.places.map((place) => this.#askOne(place)));
    const primaries = answers.filter((answer) => answer !== undefined && answer.timeline >= this.#newestTimeline);
    const [newest] = (primaries as Primary[]).sort((a, b) => b.timeline - a.timeline);
    if (newest === undefined) throw away(`none of ${this.places.map(nameOf).join(', ')} is the primary`);
    this.#newestTimeline = newest.timeline;
    return newest;
  }

  async #askOne(place: DatabasePlace): Promise<Primary | undefined> {
    const client = new pg.Client({
      connectionString: this.url,
      application_name: 'find-primary',
      connectionTimeoutMillis: ASK_MS_MAX,
      query_timeout: ASK_MS_MAX,
    });
    Object.assign(client, place);
    client.on('error', () => undefined);
    try {
      await client.connect();
      const timeline = await timelineOf(client);
      return timeline === undefined ? undefined : { place, timeline };
    } catch {
      return undefined;
    } finally {
      void client.end().catch(() => undefined);
    }
  }
}

/**
 * The class of a connection to the primary at `url`. Where the URL names one server it is pg's own. Where it names several
 * (`postgresql://femtopki@db1,db2:5433/femtopki`, as libpq writes it) each new connection goes to the one that is the
 * primary now, and is refused by a server that is not: after a failover, the next connection finds the new one.
 */
export function primaryClient(url: string): { readonly url: string; readonly Client: typeof pg.Client } {
  const { url: first, places } = parseDatabaseUrl(url);
  if (places.length === 1) return { url: first, Client: pg.Client };
  const search = new PrimarySearch(first, places);

  class PrimaryClient extends pg.Client {
    override connect(): Promise<pg.Client>;
    override connect(callback: (err: Error) => void): void;
    override connect(callback?: (err: Error) => void): Promise<pg.Client> | undefined {
      const connected = this.#connectToPrimary();
      if (callback === undefined) return connected;
      connected.then(() => callback(null as unknown as Error), callback);
      return undefined;
    }

    async #connectToPrimary(): Promise<pg.Client> {
      const place = await search.locate();
      Object.assign(this, place);
      try {
        await super.connect();
      } catch (thrown) {
        search.doubt();
        throw thrown;
      }
      try {
        await search.confirm(this, place);
      } catch (thrown) {
        await this.end().catch(() => undefined);
        throw thrown;
      }
      return this;
    }
  }
  return { url: first, Client: PrimaryClient };
}

/** @returns undefined on a standby */
async function timelineOf(client: pg.Client): Promise<number | undefined> {
  const { rows } = await client.query<{ segment: string | null }>(ROLE);
  const segment = rows[0]?.segment;
  return typeof segment === 'string' ? Number.parseInt(segment.slice(0, 8), 16) : undefined;
}

function nameOf({ host, port }: DatabasePlace): string {
  return host.startsWith('/') ? host : `${host}:${port}`;
}

function away(why: string): FemtoError {
  return new FemtoError('RETRY_LATER', `No primary database: ${why}. Try again when one was promoted.`, {
    retryAfterSeconds: 5,
  });
}
