import { createHash } from 'node:crypto';
import { FemtoError } from '../../platform/errors.js';
import { pemBlocks } from '../../x509/pem.js';
import type { DangerousAct } from '../people/approvals.js';

/** An anchor as people send it. */
export interface AnchorText {
  readonly name: string;
  readonly maker: string;
  readonly model: string;
  /** One certificate. */
  readonly certificatePem: string;
  /** Each may hold several. */
  readonly intermediatePems: readonly string[];
}

/** @throws FemtoError BAD_REQUEST; KEY_BLOCKED where a private key was sent along */
export function anchorBytes({ certificatePem, intermediatePems }: AnchorText): {
  readonly certificateDer: Buffer;
  readonly intermediates: readonly Buffer[];
} {
  const [certificateDer, ...others] = certificates(certificatePem);
  if (certificateDer === undefined || others.length > 0) {
    throw new FemtoError('BAD_REQUEST', 'An anchor is exactly one PEM certificate; CAs below it are intermediates.');
  }
  return { certificateDer, intermediates: intermediatePems.flatMap(certificates) };
}

/** What two people sign: the names, and hashes of exactly these certificates, which each can compare with the maker's. */
export function vendorAnchorAct(anchor: AnchorText): DangerousAct {
  const { certificateDer, intermediates } = anchorBytes(anchor);
  return {
    kind: 'vendor-anchor.add',
    request: {
      name: anchor.name,
      maker: anchor.maker,
      model: anchor.model,
      certificateSha256: sha256(certificateDer),
      intermediateSha256: intermediates.map(sha256),
    },
    selectionCount: 1,
  };
}

function certificates(pem: string): Buffer[] {
  return pemBlocks(pem).map(({ label, der }) => {
    if (label.includes('PRIVATE KEY')) {
      throw new FemtoError('KEY_BLOCKED', 'This holds a private key; the maker must treat it as leaked.');
    }
    if (label !== 'CERTIFICATE')
      throw new FemtoError('BAD_REQUEST', 'This PEM holds something else than certificates.');
    return der;
  });
}

function sha256(der: Buffer): string {
  return createHash('sha256').update(der).digest('hex');
}
