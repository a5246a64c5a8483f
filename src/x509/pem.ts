import { FemtoError } from '../platform/errors.js';

export interface PemBlock {
  /** Label between BEGIN and the dashes, e.g. `CERTIFICATE`. */
  readonly label: string;
  readonly der: Buffer;
}

const BLOCKS_MAX = 100;
const BLOCK = /^-----BEGIN ([A-Z0-9 #_]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)\r?\n?-----END \1-----[ \t]*$/gm;

/**
 * All PEM blocks of a text, in order; text around them is ignored (RFC 7468 section 2), commented ones too.
 *
 * @throws FemtoError BAD_REQUEST for a block that is begun but not well ended, has bad base64, or for more than 100
 */
export function pemBlocks(text: string): PemBlock[] {
  const blocks: PemBlock[] = [];
  for (const match of text.matchAll(BLOCK)) {
    const [, label = '', body = ''] = match;
    blocks.push({ label, der: bytesOfBase64(body, `PEM block ${label}`) });
    if (blocks.length > BLOCKS_MAX) throw badText(`has more than ${BLOCKS_MAX} PEM blocks`);
  }
  const begun = text.match(/^-----BEGIN /gm)?.length ?? 0;
  if (begun !== blocks.length) throw badText('has a PEM block that does not end as it begins');
  return blocks;
}

export function pemBlock(label: string, der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** Base64 with line breaks, otherwise strict: alphabet, padding, and no stray bits (RFC 4648 section 3.5). */
export function bytesOfBase64(text: string, what: string): Buffer {
  const compact = text.replace(/[ \t\r\n]+/g, '');
  const bytes = Buffer.from(compact, 'base64');
  // Node's decoder skips what it does not know; encoding again shows whether anything was skipped.
  if (compact.length === 0 || bytes.toString('base64') !== compact) throw badText(`has bad base64 in ${what}`);
  return bytes;
}

function badText(fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The text ${fault}; send unaltered PEM or base64.`, { facts: { fault } });
}
