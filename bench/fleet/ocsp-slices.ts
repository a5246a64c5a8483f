import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readCertificate } from '../../src/x509/certificate.js';
import { ocspIssuerHashes } from '../../src/x509/ocsp.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { ocspRequestOf } from '../load/ocsp-requests.js';
import type { ProbeOrder, ProbeResult } from '../load/paced-probe.js';
import type { UnitSeed } from '../servers/renewal-ports.js';

/** A slice asks 50 questions a second for 12 s, each about another certificate, as gateways do when a fleet connects anew. */
export const SLICE = { perSecond: 50, seconds: 12 } as const;
const PAUSE_MS = 3_000;

export interface OcspAsked {
  readonly slices: number;
  readonly failed: number;
  /** Median over the slices. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** Asks about certificates that nobody asked about before: each answer is made and signed now. */
export class OcspSlices {
  private next = 0;

  constructor(
    private readonly place: { readonly port: number; readonly dir: string; readonly issuerPem: string },
    private readonly seeds: readonly UnitSeed[],
  ) {}

  async ask(slices: number): Promise<OcspAsked> {
    const results: ProbeResult[] = [];
    for (let n = 0; n < slices; n++) {
      if (n > 0) await sleep(PAUSE_MS);
      results.push(await this.slice());
    }
    const median = (of: (result: ProbeResult) => number): number =>
      results.map(of).sort((a, b) => a - b)[Math.floor(results.length / 2)] ?? Number.NaN;
    return {
      slices,
      failed: results.reduce((sum, { failed }) => sum + failed, 0),
      p50Ms: median(({ p50Ms }) => p50Ms),
      p99Ms: median(({ p99Ms }) => p99Ms),
    };
  }

  private async slice(): Promise<ProbeResult> {
    const count = SLICE.perSecond * SLICE.seconds;
    const requestsFile = join(this.place.dir, 'ocsp.json');
    writeFileSync(requestsFile, JSON.stringify(this.questions(this.seeds.slice(this.next, this.next + count))));
    this.next += count;
    const order = { port: this.place.port, requestsFile, ...SLICE } satisfies ProbeOrder;
    const [loader, file] = ['../../bin/ts-loader.mjs', '../load/paced-probe.ts'].map(
      (path) => new URL(path, import.meta.url),
    );
    const args = ['--import', loader?.href ?? '', fileURLToPath(file ?? ''), JSON.stringify(order)];
    const { stdout } = await promisify(execFile)(process.execPath, args, { env: { ...process.env, NODE_OPTIONS: '' } });
    return JSON.parse(stdout) as ProbeResult;
  }

  private questions(seeds: readonly UnitSeed[]): string[] {
    const [block] = pemBlocks(this.place.issuerPem);
    const { subjectDer, spki } = readCertificate(block?.der ?? Buffer.alloc(0));
    const { nameHash, keyHash } = ocspIssuerHashes(subjectDer, spki).sha1;
    const names = { nameHashHex: nameHash.toString('hex'), keyHashHex: keyHash.toString('hex') };
    return seeds.map(({ certificate }) => {
      const { serial } = readCertificate(Buffer.from(certificate, 'base64'));
      return ocspRequestOf({ ...names, hour: 0, method: 'POST' }, serial).toString('base64');
    });
  }
}
