import { spawnSync } from 'node:child_process';
import { vendorAnchorStore } from '../lifecycle/registry/vendor-anchor-store.pg.js';
import { critical, fine, warning } from '../operator/cli/finding.js';
import { openPool } from '../platform/db/pool.pg.js';
import { transactorOf } from '../platform/db/transaction.pg.js';
import { readCrl } from '../x509/read-crl.js';

const WARN_PART = 0.25;
const ANCHOR_DAYS_WARN = 90;
const DAY_MS = 86_400_000;

/** OpenSSL judges vendor chains: as a program, because the library inside Node.js has no path verification to call. */
export function opensslProgram() {
  const { stdout, error } = spawnSync('openssl', ['version'], { encoding: 'utf8', timeout: 5_000 });
  const version = error === undefined ? stdout.trim().slice(0, 80) : '';
  return /^OpenSSL (?:[3-9]|[1-9][0-9])\./.test(version)
    ? fine(version)
    : critical(
        version === '' ? 'there is no openssl program' : `${version} is not OpenSSL 3`,
        'Install OpenSSL 3 (Debian: apt-get install openssl): without it no vendor certificate is believed.',
      );
}

/** A maker's CRL that runs out stops its units; somebody has to register the next one before. */
export async function vendorAnchorLife(databaseUrl: string, now = new Date()) {
  const pool = openPool(databaseUrl, { applicationName: 'doctor', connectionsMax: 1, onIdleError: () => undefined });
  try {
    const anchors = await vendorAnchorStore.anchors(transactorOf(pool).read);
    const active = anchors.filter(({ state }) => state === 'active');
    const lives = active.flatMap(({ name, crls, notAfter }) => [
      ...crls.map((der) => crlLife(name, der, now)),
      {
        text: `${name} ends at ${notAfter.toISOString()}`,
        isOver: notAfter < now,
        isShort: notAfter.getTime() - now.getTime() < ANCHOR_DAYS_WARN * DAY_MS,
      },
    ]);
    const over = lives.filter(({ isOver }) => isOver);
    const short = lives.filter(({ isShort }) => isShort);
    const nextStep =
      'Get the newest one from the maker: femtopki vendor-anchor crl, or vendor-anchor request for a new root.';
    if (over.length > 0) return critical(`${joined(over)}: its units are refused`, nextStep);
    if (short.length > 0) return warning(joined(short), nextStep);
    return fine(`${active.length} active anchors`);
  } finally {
    await pool.end();
  }
}

function crlLife(name: string, der: Buffer, now: Date) {
  const { thisUpdate, nextUpdate = thisUpdate } = readCrl(der);
  const leftMs = nextUpdate.getTime() - now.getTime();
  return {
    text: `a CRL of ${name} ends at ${nextUpdate.toISOString()}`,
    isOver: leftMs < 0,
    isShort: leftMs < WARN_PART * (nextUpdate.getTime() - thisUpdate.getTime()),
  };
}

function joined(lives: readonly { readonly text: string }[]): string {
  return lives.map(({ text }) => text).join(', ');
}
