import { createHash } from 'node:crypto';
import { inSerialOrder, readCrlHead } from '../../x509/crl.js';
import type { PreviousCrl } from './build-crl.js';
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

  /** @param sha256  of `der` */
  async publish(label: string, der: Buffer, sha256: Buffer): Promise<LyingCrl> {
    this.#known.delete(label);
    const stamp = await this.files.publish(label, der);
    const { number, thisUpdate, nextUpdate } = readCrlHead(der);
    const crl = lying({ number: number ?? 0n, thisUpdate, nextUpdate, der }, sha256);
    this.#known.set(label, { stamp, crl });
    return crl;
  }
}

function lying({ number, thisUpdate, der }: PublishedCrl, sha256: Buffer): LyingCrl {
  return { number, thisUpdate, sha256, entriesDer: inSerialOrder(readCrlHead(der).entriesDer) };
}
