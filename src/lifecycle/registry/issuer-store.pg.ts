import { readCertificate } from '../../x509/certificate.js';
import type { Issuer } from '../model/index.js';
import type { Installation, IssuerStore, RootSuccession } from './issuer-directory.js';

type IssuerRow = Omit<Issuer, 'spkiDer'>;

export const issuerStore: IssuerStore = {
  readIssuers: async (tx) => {
    const { rows } = await tx.query<IssuerRow>(
      `SELECT id, label, kind, state, key_label AS "keyLabel", certificate_der AS "certificateDer",
         subject_der AS "subjectDer", key_identifier AS "keyIdentifier", not_after AS "notAfter"
       FROM issuer ORDER BY id`,
    );
    return rows.map((row) => ({ ...row, spkiDer: readCertificate(row.certificateDer).spki.spkiDer }));
  },

  addIssuer: async (tx, issuer) => {
    const { rowCount } = await tx.query(
      `INSERT INTO issuer (label, kind, state, key_label, parent_label, certificate_der, subject_der, key_identifier,
         spki_hash, not_after)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`,
      [
        issuer.label,
        issuer.kind,
        issuer.state,
        issuer.keyLabel,
        issuer.parentLabel,
        issuer.certificateDer,
        issuer.subjectDer,
        issuer.keyIdentifier,
        issuer.spkiHash,
        issuer.notAfter,
      ],
    );
    return rowCount === 1;
  },

  addOcspSigner: async (tx, { issuerId, notBefore, notAfter, keyLabel, certificateDer }) => {
    await tx.query(
      `INSERT INTO ocsp_signer (issuer_id, not_before, not_after, key_label, certificate_der)
       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
      [issuerId, notBefore, notAfter, keyLabel, certificateDer],
    );
  },

  addInstallation: async (tx, { installationId, operator, realm, mode, createdAt }) => {
    await tx.query(
      `INSERT INTO installation (installation_id, operator, realm, mode, created_at) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT DO NOTHING`,
      [installationId, operator, realm, mode, createdAt],
    );
  },

  readInstallation: async (tx) => {
    const { rows } = await tx.query<Installation>(
      `SELECT installation_id AS "installationId", operator, realm, mode, epoch, admission_frozen AS "admissionFrozen",
         issuing_stopped AS "issuingStopped", created_at AS "createdAt" FROM installation WHERE id = 1`,
    );
    return rows[0] ?? null;
  },

  readSuccessions: async (tx) =>
    (
      await tx.query<RootSuccession>(
        `SELECT successor_id AS "successorId", predecessor_id AS "predecessorId", new_with_old AS "newWithOld",
           old_with_new AS "oldWithNew" FROM root_succession ORDER BY successor_id`,
      )
    ).rows,

  addSuccession: async (tx, { successorId, predecessorId, newWithOld, oldWithNew }, at) => {
    await tx.query(
      `INSERT INTO root_succession (successor_id, predecessor_id, new_with_old, old_with_new, entered_at)
       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
      [successorId, predecessorId, newWithOld, oldWithNew, at],
    );
  },
};
