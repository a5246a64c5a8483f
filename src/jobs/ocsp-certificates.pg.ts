import type { OcspCertificateStore, OcspSignerCertificate } from './certify-ocsp-signers.js';

export const ocspCertificates: OcspCertificateStore = {
  newest: async (tx) => {
    const { rows } = await tx.query<OcspSignerCertificate>(
      `SELECT DISTINCT ON (issuer_id) issuer_id AS "issuerId", key_label AS "keyLabel",
         certificate_der AS "certificateDer", not_before AS "notBefore", not_after AS "notAfter"
       FROM ocsp_signer ORDER BY issuer_id, not_before DESC`,
    );
    return rows;
  },
  add: async (tx, { issuerId, notBefore, notAfter, keyLabel, certificateDer }) => {
    await tx.query(
      `INSERT INTO ocsp_signer (issuer_id, not_before, not_after, key_label, certificate_der) VALUES ($1, $2, $3, $4, $5)`,
      [issuerId, notBefore, notAfter, keyLabel, certificateDer],
    );
  },
};
