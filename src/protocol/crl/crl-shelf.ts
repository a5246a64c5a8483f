import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type CrlHealth, crlHealth } from '../../lifecycle/status/index.js';
import { readCrlHead } from '../../x509/crl.js';
import { belongsUnder } from '../../x509/crl-part.js';
import { badDer } from '../../x509/der-reader.js';
import { crlNamesIn, stampOf } from './crl-directory.js';
import { CRL_CACHE_CONTROL, CRL_MEDIA_TYPE } from './crl-headers.js';

/** A file for relying parties, ready to be written to a socket. */
export interface ShelfItem {
  readonly body: Buffer;
  readonly etag: string;
  /** Flat list name, value, …; without Content-Length and Content-Type for 304. */
  readonly headers: readonly string[];
  readonly notModifiedHeaders: readonly string[];
}

export interface CrlShelf {
  crl(label: string): ShelfItem | undefined;
  certificate(label: string): ShelfItem | undefined;
  /**
   * Looks at the directories, and at newer CRLs that the database has. Keeps what it has on any failure. Asked while it
   * looks, it looks once more; never twice at once.
   */
  refresh(): Promise<void>;
  health(now: Date): CrlHealth[];
}

export interface CrlShelfDeps {
  /** CRLs of the publisher on this host, and root CRLs from the ceremony. */
  readonly directories: readonly string[];
  /** Newest CRLs above the given numbers, for hosts that do not share the publisher's disk; their bytes one by one. */
  readonly newerCrls: (known: ReadonlyMap<string, bigint>) => Promise<readonly NewerCrl[]>;
  /** CA certificates by label. */
  readonly certificates: () => Promise<readonly { label: string; der: Buffer }[]>;
  readonly onTrouble: (error: unknown) => void;
}

export interface NewerCrl {
  readonly label: string;
  /** Null: there is a newer one already. */
  der(): Promise<Buffer | null>;
}

interface Held {
  readonly item: ShelfItem;
  readonly number: bigint;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date | undefined;
}

/** Everything is served from memory: a full disk or a lost database changes nothing for those who fetch. */
export function makeCrlShelf(deps: CrlShelfDeps): CrlShelf {
  const crls = new Map<string, Held>();
  const certificates = new Map<string, ShelfItem>();
  const stamps = new Map<string, string>();

  // OCSP answers wait for what is done here, so neither the entries are walked nor the megabytes hashed: the publisher
  // linted them, and the head alone tells a file that was cut short.
  const put = (label: string, der: Buffer): void => {
    const list = readCrlHead(der);
    const { number, thisUpdate, nextUpdate, signature } = list;
    if (!belongsUnder(label, list))
      throw badDer(`CRL of ${label}`, 'is of another kind than its name says; it is not served');
    const held = crls.get(label);
    // Two publishers, or a restored directory: what was shown once is never followed by something older.
    if (number === undefined || (held && held.number >= number)) return;
    crls.set(label, { item: crlItem(der, signature, thisUpdate), number, thisUpdate, nextUpdate });
  };
  const attempt = async (work: () => Promise<void>): Promise<void> => {
    try {
      await work();
    } catch (error) {
      deps.onTrouble(error);
    }
  };
  const readDirectory = async (directory: string): Promise<void> => {
    for (const label of await crlNamesIn(directory)) {
      const path = join(directory, `${label}.crl`);
      const stamp = stampOf(await stat(path));
      if (stamps.get(path) === stamp) continue;
      await attempt(async () => put(label, await readFile(path)));
      stamps.set(path, stamp);
    }
  };

  const refresh = async (): Promise<void> => {
    for (const directory of deps.directories) await attempt(() => readDirectory(directory));
    await attempt(async () => {
      const known = new Map([...crls].map(([label, { number }]) => [label, number]));
      for (const { label, der } of await deps.newerCrls(known)) {
        const bytes = await der();
        if (bytes !== null) put(label, bytes);
      }
    });
    await attempt(async () => {
      for (const { label, der } of await deps.certificates()) {
        if (!certificates.has(label)) certificates.set(label, certificateItem(der));
      }
    });
  };
  let running: Promise<void> | undefined;
  let isAskedAgain = false;
  const refreshOnce = async (): Promise<void> => {
    do {
      isAskedAgain = false;
      await refresh();
    } while (isAskedAgain);
  };

  return {
    crl: (label) => crls.get(label)?.item,
    certificate: (label) => certificates.get(label),
    refresh: () => {
      isAskedAgain = true;
      running ??= refreshOnce().finally(() => {
        running = undefined;
      });
      return running;
    },
    health: (now) =>
      [...crls].flatMap(([label, { thisUpdate, nextUpdate }]) =>
        nextUpdate === undefined ? [] : [crlHealth({ label, thisUpdate, nextUpdate }, now)],
      ),
  };
}

function crlItem(der: Buffer, signature: Buffer, thisUpdate: Date): ShelfItem {
  // A signature is over all the rest, and no two are alike: it names the file as a hash of everything would.
  return item(der, { type: CRL_MEDIA_TYPE, cacheControl: CRL_CACHE_CONTROL, named: signature, thisUpdate });
}

function certificateItem(der: Buffer): ShelfItem {
  return item(der, { type: 'application/pkix-cert', cacheControl: 'max-age=3600, public, no-transform', named: der });
}

function item(
  body: Buffer,
  { type, cacheControl, named, thisUpdate }: { type: string; cacheControl: string; named: Buffer; thisUpdate?: Date },
): ShelfItem {
  const etag = `"${createHash('sha256').update(named).digest('hex').slice(0, 32)}"`;
  const notModifiedHeaders = ['Cache-Control', cacheControl, 'ETag', etag];
  if (thisUpdate) notModifiedHeaders.push('Last-Modified', thisUpdate.toUTCString());
  const headers = ['Content-Type', type, 'Content-Length', String(body.length), ...notModifiedHeaders];
  return { body, etag, headers, notModifiedHeaders };
}
