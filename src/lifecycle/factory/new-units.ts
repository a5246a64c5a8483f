import type { NewUnit } from '../registry/index.js';
import type { Manifest } from './manifest.js';

/** Rows of a manifest as the registry enters them: `<eui>.<realm>` is the one name a unit's certificates carry. */
export function newUnits({ units, model }: Manifest, realm: string): NewUnit[] {
  return units.map(({ serialNumber, eui, productClass, hardwareId, vendorSpkiHash }) => ({
    serialNumber,
    eui,
    fqdn: `${eui}.${realm}`,
    productClass,
    hardwareId,
    model,
    vendorSpkiHash,
    // A row that names the key of the vendor's certificate starts where our own bootstrap would lead (rules 3.5).
    state: vendorSpkiHash === null ? 'MANIFESTED' : 'BOOTSTRAPPED',
  }));
}
