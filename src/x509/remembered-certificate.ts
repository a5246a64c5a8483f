import { type Certificate, readCertificate } from './certificate.js';

/** Exchanges that are under way at once on a busy server, a few times over. */
const REMEMBERED_MAX = 1_024;
/** Twice what a unit's certificate takes; what is larger is read every time. */
const REMEMBERED_BYTES_MAX = 2_048;

const remembered = new Map<string, Certificate>();

/**
 * As {@link readCertificate}, but the same bytes again soon give the same object, and with it what is known of that object:
 * its key in OpenSSL's hands, and whose key signed it. The messages of one CMP exchange carry one certificate.
 */
export function rememberedCertificate(der: Buffer): Certificate {
  if (der.length > REMEMBERED_BYTES_MAX) return readCertificate(der);
  const name = der.toString('latin1');
  const known = remembered.get(name);
  if (known !== undefined) return known;
  // A copy: the result holds views, and must neither change nor hold a whole message.
  const certificate = readCertificate(Buffer.from(der));
  if (remembered.size >= REMEMBERED_MAX) remembered.delete(remembered.keys().next().value ?? '');
  remembered.set(name, certificate);
  return certificate;
}
