import { sequence, TAG } from '../der.js';
import { checkDer } from '../der-gate.js';
import { type DerElement, DerReader, readDer, wholeOctets } from '../der-reader.js';
import { faultAs } from './cmp-fault.js';
import { insideTag } from './cmp-fields.js';
import { CMP_DER_LIMITS, EXTRA_CERTS_MAX } from './limits.js';
import type { PkiMessage } from './pki-message.js';
import { readBody } from './read-body.js';
import { readHeader, salvageHeader } from './read-header.js';

const WHAT = 'PKIMessage';

/**
 * Reads a CMP message to its last byte, in the order of cost: size, DER gate, header, body. Says nothing about who sent it:
 * `protectionOf` and what follows it do.
 *
 * @param der  one PKIMessage of at most CMP_BYTES_MAX bytes; the result holds views into it, so it must not change afterwards
 * @throws CmpFault badDataFormat, with `header` where that much could be read
 * @see RFC 9810 section 5.1
 */
export function readPkiMessage(der: Buffer): PkiMessage {
  return faultAs(
    'badDataFormat',
    () => {
      checkDer(der, CMP_DER_LIMITS);
      return readGated(der);
    },
    () => salvageHeader(der),
  );
}

/**
 * The certificate in an answer of our own, as it is kept for a repeat; undefined where it holds none.
 *
 * @param der  bytes that we made: they are past every gate
 */
export function certificateAnswered(der: Buffer): Buffer | undefined {
  const fields = readDer(der, TAG.SEQUENCE, WHAT);
  fields.expect(TAG.SEQUENCE, 'header');
  const body = readBody(fields.next());
  return 'responses' in body ? body.responses[0]?.certificateDer : undefined;
}

function readGated(der: Buffer): PkiMessage {
  const fields = readDer(der, TAG.SEQUENCE, WHAT);
  const headerDer = fields.expect(TAG.SEQUENCE, 'header').der;
  const body = fields.next();
  const protection = fields.optional(0xa0);
  const extraCerts = fields.optional(0xa1);
  fields.end();
  return {
    ...readHeader(headerDer),
    der,
    headerDer,
    bodyDer: body.der,
    protectedDer: sequence(headerDer, body.der),
    ...(protection === undefined
      ? {}
      : { protection: wholeOctets(insideTag(protection, TAG.BIT_STRING, 'protection').content, 'protection') }),
    extraCerts: extraCerts === undefined ? [] : readExtraCerts(extraCerts),
    body: readBody(body),
  };
}

/** An empty list is not ASN.1's SIZE (1..MAX), but was written by OpenSSL's CMP code of 2018, and means what it seems to. */
function readExtraCerts(element: DerElement): Buffer[] {
  const list = new DerReader(insideTag(element, TAG.SEQUENCE, 'extraCerts').content, 'extraCerts');
  const certificates: Buffer[] = [];
  while (!list.atEnd) {
    if (certificates.length === EXTRA_CERTS_MAX) list.fail(`hold more than ${EXTRA_CERTS_MAX} certificates`);
    certificates.push(list.expect(TAG.SEQUENCE, 'certificate').der);
  }
  return certificates;
}
