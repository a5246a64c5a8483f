import { createHash } from 'node:crypto';
import { inSerialOrder, type JudgedList, judgeList, readCrlHead } from '../../x509/crl.js';
import { CRL_SCOPE, type PreviousCrl } from './build-crl.js';
import type { CrlFiles, PublishedCrl } from './crl-store.js';

/** A CRL that lies published. */
export interface LyingCrl extends PreviousCrl {
  /** Of the whole CRL. */
  readonly sha256: Buffer;
}

/**
 * What lies published for each CA, as the world can fetch it. A file is read when its stamp has changed, not each time
 * that somebody asks whether something is due.
 */
export class PublishedCrls {
  readonly #known = new Map<string, { readonly stamp: string; readonly crl: LyingCrl | null }>();

  constructor(private readonly files: CrlFiles) {}

  /** Null: nothing lies there, or no CRL. */
  async of(label: string): Promise<LyingCrl | null> {
    const stamp = await this.files.stamp(label);
    if (stamp === null) {
      this.#known.delete(label);
      return null;
    }
    const known = this.#known.get(label);
    if (known?.stamp === stamp) return known.crl;
    const found = await this.files.newest(label);
    const crl = found && lying(found, createHash('sha256').update(found.der).digest());
    this.#known.set(label, { stamp, crl });
    return crl;
  }

  /**
   * @param sha256  of `der`
   * @param judged  its entries, in the memory of `der`, where they have been looked at
   */
  async publish(label: string, der: Buffer, sha256: Buffer, judged?: JudgedList): Promise<LyingCrl> {
    this.#known.delete(label);
    const stamp = await this.files.publish(label, der);
    const { number, thisUpdate, nextUpdate } = readCrlHead(der);
    const crl = lying({ number: number ?? 0n, thisUpdate, nextUpdate, der }, sha256, judged);
    this.#known.set(label, { stamp, crl });
    return crl;
  }
}

function lying({ number, thisUpdate, der }: PublishedCrl, sha256: Buffer, known?: JudgedList): LyingCrl {
  const head = readCrlHead(der);
  const judged =
    known && isSameMemory(known.entriesDer, head.entriesDer) ? known : judgeList(head, { scope: CRL_SCOPE });
  return { number, thisUpdate, sha256, judged, entriesDer: judged?.entriesDer ?? inSerialOrder(head.entriesDer) };
}

function isSameMemory(one: Buffer, other: Buffer): boolean {
  return one.buffer === other.buffer && one.byteOffset === other.byteOffset && one.length === other.length;
}
