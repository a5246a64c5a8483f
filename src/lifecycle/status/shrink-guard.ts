import type { StatusWitness } from './crl-store.js';

/**
 * Serials that stood on the previous CRL, are missing from the new one, and whose absence the ledger does not explain.
 * An absence is explained by a release recorded after the last hold, or by an expiry one CRL period ago (RFC 5280 section
 * 3.3). A CRL is never shorter than the ledger explains (rules 6.5): half a read, or one row edited by hand, would make
 * a stolen unit good again.
 *
 * @param vanished  lower-case hex
 */
export function unexplainedAbsences(
  vanished: readonly string[],
  witnesses: readonly StatusWitness[],
  expiredBefore: Date,
): string[] {
  const bySerial = new Map<string, StatusWitness[]>();
  for (const witness of witnesses) {
    const known = bySerial.get(witness.serialHex);
    if (known) known.push(witness);
    else bySerial.set(witness.serialHex, [witness]);
  }
  return vanished.filter((serialHex) => {
    const history = (bySerial.get(serialHex) ?? []).sort((a, b) => a.at.getTime() - b.at.getTime());
    const last = history.at(-1);
    if (last === undefined) return true;
    // Revoked is final, whatever else is written after it.
    const isReleased = last.kind === 'certificate.released' && !history.some((w) => w.kind === 'certificate.revoked');
    const isExpired = history.every((witness) => witness.notAfter <= expiredBefore);
    return !isReleased && !isExpired;
  });
}
