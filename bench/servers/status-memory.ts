/**
 * Fills the index of statuses as its loader does and says what that weighs. argv[2]: certificates; 1 % of them revoked.
 * argv[3] = `cache` fills the cache of answers instead, to its bound.
 */
import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { OcspSigner } from '../../src/lifecycle/status/index.js';
import { StatusIndex } from '../../src/lifecycle/status/status-index.js';
import { ROW_RECORD_BYTES } from '../../src/lifecycle/status/status-index-source.js';
import { certIdBySpelling, certIdSpellings } from '../../src/protocol/ocsp/cert-id-spellings.js';
import { ReplyCache } from '../../src/protocol/ocsp/reply-cache.js';
import { rawToDer } from '../../src/x509/ecdsa.js';

export interface MemoryReport {
  /** Resident and V8's own account (heap and array buffers), bytes beyond what the empty process has. */
  readonly residentBytes: number;
  readonly heapBytes: number;
  readonly cpuSeconds: number;
  /** Certificates, or answers, that it holds. */
  readonly held: number;
  readonly checks: readonly { readonly what: string; readonly ok: boolean }[];
}

const PAGE = 5_000;
const DAY = 20_700;

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;
const certificates = Number(process.argv[2]);
const settle = async (): Promise<NodeJS.MemoryUsage> => {
  for (let turn = 0; turn < 3; turn += 1) {
    collect();
    await new Promise((done) => setTimeout(done, 20));
  }
  return process.memoryUsage();
};
const empty = await settle();
const cpuBefore = process.cpuUsage();
const { held, check } = process.argv[3] === 'cache' ? fillCache() : await fillIndex();
const { user, system } = process.cpuUsage(cpuBefore);
const full = await settle();
process.send?.({
  residentBytes: full.rss - empty.rss,
  heapBytes: full.heapUsed + full.arrayBuffers - empty.heapUsed - empty.arrayBuffers,
  cpuSeconds: (user + system) / 1e6,
  held,
  checks: check(),
} satisfies MemoryReport);
process.on('disconnect', () => process.exit(0));

interface Filled {
  readonly held: number;
  readonly check: () => MemoryReport['checks'];
}

async function fillIndex(): Promise<Filled> {
  const index = new StatusIndex();
  const sampled: Buffer[] = [];
  const revoked: Buffer[] = [];
  for (let from = 0; from < certificates; from += PAGE) {
    const serials = randomBytes(16 * Math.min(PAGE, certificates - from));
    for (let at = 0; at < serials.length; at += 16) {
      serials[at] = 1;
      serials.writeUInt32BE(495_000 + ((from + at) % 720), at + 1);
    }
    index.addGroup({ issuerId: 1 + (from % 64), serials, expiryDay: DAY, otherHex: [] });
    const records = Buffer.alloc((ROW_RECORD_BYTES * serials.length) / 1_600);
    for (let row = 0; row * ROW_RECORD_BYTES < records.length; row += 1) {
      serials.copy(records, row * ROW_RECORD_BYTES, row * 1_600, row * 1_600 + 16);
      records.writeBigInt64BE(1_780_000_000_000n, row * ROW_RECORD_BYTES + 16);
      records.writeInt32BE(DAY, row * ROW_RECORD_BYTES + 24);
      records.writeInt16BE(1, row * ROW_RECORD_BYTES + 28);
      records.writeInt16BE(1, row * ROW_RECORD_BYTES + 30);
    }
    index.setRows({ issuerId: 1 + (from % 64), records, others: [] });
    if (sampled.length < 1_000) {
      sampled.push(Buffer.from(serials.subarray(16, 32)));
      revoked.push(Buffer.from(serials.subarray(0, 16)));
    }
    await new Promise((done) => setImmediate(done));
  }
  const issuerOf = (page: number): number => 1 + ((page * PAGE) % 64);
  const check = (): MemoryReport['checks'] => [
    { what: `${certificates} are issued`, ok: index.counts.issued === certificates },
    { what: 'samples are good', ok: sampled.every((serial, page) => isGood(index.look(issuerOf(page), serial))) },
    {
      what: 'the others are revoked',
      ok: revoked.every((serial, page) => index.look(issuerOf(page), serial).row?.reason === 1),
    },
    { what: 'no stranger is known', ok: sampled.every((serial) => !index.look(99, serial).isIssued) },
  ];
  return { held: certificates, check };
}

function isGood({ isIssued, row }: { isIssued: boolean; row: unknown }): boolean {
  return isIssued && row === null;
}

function fillCache(): Filled {
  const cache = new ReplyCache();
  const responder = {
    keyHash: randomBytes(20),
    algorithm: 'ecdsa-with-SHA256',
    certificateDer: randomBytes(470),
  } as unknown as OcspSigner;
  const [spelling = ''] = certIdSpellings({
    sha1: { nameHash: randomBytes(20), keyHash: randomBytes(20) },
    sha256: { nameHash: randomBytes(32), keyHash: randomBytes(32) },
  });
  const now = new Date();
  const nextUpdate = new Date(now.getTime() + 3_600_000);
  for (let answer = 0; answer < certificates; answer += 1) {
    const serial = Buffer.concat([Buffer.from([1]), randomBytes(15)]);
    const certIdDer = certIdBySpelling(spelling, serial);
    const good = { certIdDer, status: { kind: 'good' }, thisUpdate: now, nextUpdate } as const;
    cache.store({ responder, answer: good, producedAt: now, signature: rawToDer(randomBytes(64)) }, cache.era);
  }
  const check = (): MemoryReport['checks'] => [
    { what: 'the cache keeps to its bound', ok: cache.counts.bytes <= 64 * 1024 * 1024 },
  ];
  return { held: cache.counts.answers, check };
}
