import type { DecisionStore } from './decision.js';

export const decisionStore: DecisionStore = {
  add: async (tx, row) => {
    await tx.query(
      `INSERT INTO decision (at, gateway_id, unit_id, issuer_id, serial, stage, key_proved, verdict, reasons, address, line_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
      [
        row.at,
        row.gatewayId,
        row.unitId,
        row.issuerId,
        row.serial,
        row.stage,
        row.keyProved,
        row.verdict,
        row.reasons,
        row.address,
        row.lineId,
      ],
    );
  },
};
