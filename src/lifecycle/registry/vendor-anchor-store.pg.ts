import { byteaArray } from '../../platform/db/binary-array.js';
import type { VendorAnchor } from './vendor-anchor.js';
import type { VendorAnchorStore } from './vendor-anchor-store.js';

const SELECT = `SELECT a.id, a.maker_id AS "makerId", maker.name AS "makerName", a.model, a.name,
    a.certificate_der AS "certificateDer", a.subject_der AS "subjectDer", a.spki_hash AS "spkiHash", a.not_after AS "notAfter",
    a.intermediates, a.crls, a.crls_at AS "crlsAt", a.state, a.created_by AS "createdBy", a.created_at AS "createdAt"
  FROM vendor_anchor a JOIN maker ON maker.id = a.maker_id`;

export const vendorAnchorStore: VendorAnchorStore = {
  activeAnchors: async (tx, { makerId, model }) =>
    (
      await tx.query<VendorAnchor>(
        `${SELECT} WHERE a.maker_id = $1 AND a.model = $2 AND a.state = 'active' ORDER BY a.id`,
        [makerId, model],
      )
    ).rows,

  anchors: async (tx) => (await tx.query<VendorAnchor>(`${SELECT} ORDER BY maker.name, a.model, a.name`)).rows,

  anchor: async (tx, name, lock) => {
    const forUpdate = lock === undefined ? '' : 'FOR NO KEY UPDATE OF a';
    const { rows } = await tx.query<VendorAnchor>(`${SELECT} WHERE a.name = $1 ${forUpdate}`, [name]);
    return rows[0] ?? null;
  },

  addAnchor: async (tx, anchor) => {
    const taken = await tx.query(
      'SELECT 1 FROM vendor_anchor WHERE name = $1 AND NOT (maker_id = $2 AND model = $3 AND spki_hash = $4)',
      [anchor.name, anchor.makerId, anchor.model, anchor.spkiHash],
    );
    if (taken.rowCount > 0) return null;
    const { rows } = await tx.query<{ id: number }>(
      `INSERT INTO vendor_anchor AS a (maker_id, model, name, certificate_der, subject_der, spki_hash, not_after,
         intermediates, state, created_by, created_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'active', $9, $10)
       ON CONFLICT (maker_id, model, spki_hash) DO UPDATE SET name = EXCLUDED.name,
         certificate_der = EXCLUDED.certificate_der, subject_der = EXCLUDED.subject_der, not_after = EXCLUDED.not_after,
         intermediates = EXCLUDED.intermediates, crls = '{}', crls_at = NULL, state = 'active',
         created_by = EXCLUDED.created_by, created_at = EXCLUDED.created_at
       WHERE a.state = 'disabled' RETURNING id`,
      [
        anchor.makerId,
        anchor.model,
        anchor.name,
        anchor.certificateDer,
        anchor.subjectDer,
        anchor.spkiHash,
        anchor.notAfter,
        byteaArray(anchor.intermediates),
        anchor.createdBy,
        anchor.createdAt,
      ],
    );
    return rows[0] ?? null;
  },

  disableAnchor: async (tx, id) => {
    await tx.query(`UPDATE vendor_anchor SET state = 'disabled' WHERE id = $1`, [id]);
  },

  writeCrls: async (tx, id, crls, at) => {
    await tx.query('UPDATE vendor_anchor SET crls = $2, crls_at = $3 WHERE id = $1', [id, byteaArray(crls), at]);
  },
};
