import type { AskOcsp } from '../operator/audit/invariants/invariant.js';
import { readCertificate } from '../x509/certificate.js';
import { sequence } from '../x509/der.js';
import { certIdOf, ocspIssuerHashes, readOcspResponse } from '../x509/ocsp.js';
import { verifyOcspResponse } from '../x509/ocsp-status.js';

const ANSWER_MS_MAX = 3_000;

/** Asks the running status server as any relying party would, and believes only what verifies. */
export function ocspAsker(statusUrl: string): AskOcsp {
  return async ({ issuerCertificateDer, serial }) => {
    const issuer = readCertificate(issuerCertificateDer);
    const { certIdDer } = certIdOf('sha256', ocspIssuerHashes(issuer.subjectDer, issuer.spki).sha256, serial);
    const body = sequence(sequence(sequence(sequence(certIdDer))));
    const reply = await fetch(`${statusUrl}/ocsp`, {
      method: 'POST',
      headers: { 'content-type': 'application/ocsp-request' },
      body: new Uint8Array(body),
      signal: AbortSignal.timeout(ANSWER_MS_MAX),
    });
    const response = readOcspResponse(Buffer.from(await reply.arrayBuffer()));
    if (response.status !== 'successful' || !verifyOcspResponse(response.basic, issuer, new Date())) return 'no-answer';
    const answer = response.basic.responseData.responses.find(({ certId }) => certId.serial.equals(serial));
    return answer?.status.kind === 'good' || answer?.status.kind === 'revoked' ? answer.status.kind : 'no-answer';
  };
}

/** Null when nobody listens there: OCSP is then not compared, and the report says so. */
export async function ocspAskerIfServed(statusUrl: string): Promise<AskOcsp | null> {
  try {
    await fetch(statusUrl, { signal: AbortSignal.timeout(ANSWER_MS_MAX) });
    return ocspAsker(statusUrl);
  } catch {
    // Any failure to connect means the same here, and it is told in the report.
    return null;
  }
}
