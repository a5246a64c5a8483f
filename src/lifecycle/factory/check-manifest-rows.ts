import type { JsonValue } from '../../platform/strict-json.js';
import { holdsSubscriberNumber } from '../registry/index.js';
import type { ManifestUnit } from './manifest.js';

export const FAULTS_SHOWN_MAX = 100;

interface CheckedRows {
  readonly units: readonly ManifestUnit[];
  readonly faults: readonly string[];
  readonly faultCount: number;
}

/** Collects faults; the file is refused at the first, but its maker wants to correct all of them at once. */
export class FaultList {
  readonly shown: string[] = [];
  count = 0;

  add(row: number, fault: string): void {
    this.count += 1;
    if (this.shown.length < FAULTS_SHOWN_MAX) this.shown.push(`row ${row}: ${fault}`);
  }
}

/**
 * Checks every row, and the rows against each other. A serial number is taken only in its canonical form: correcting
 * case, spaces or look-alike letters here would let two files mean one unit, or one file two (REG-1).
 *
 * @param euiPrefixes  the maker's ranges, lower-case hex
 */
export function checkManifestRows(rows: readonly JsonValue[], euiPrefixes: readonly string[]): CheckedRows {
  const faults = new FaultList();
  const units: ManifestUnit[] = [];
  const firstRow = {
    serialNumber: new Map<string, number>(),
    eui: new Map<string, number>(),
    hardware: new Map<string, number>(),
    vendorKey: new Map<string, number>(),
  };
  rows.forEach((value, index) => {
    const row = index + 1;
    const unit = checkRow(value, euiPrefixes, (fault) => faults.add(row, fault));
    if (unit === null) return;
    const identities = {
      serialNumber: unit.serialNumber,
      eui: unit.eui,
      hardware: `${unit.productClass}/${unit.hardwareId}`,
      // Two units with one key could stand in for each other, and a leak of one would be a leak of both.
      ...(unit.vendorSpkiHash === null ? {} : { vendorKey: unit.vendorSpkiHash.toString('hex') }),
    };
    for (const [what, identity] of Object.entries(identities) as [keyof typeof MEMBER_OF, string][]) {
      const earlier = firstRow[what].get(identity);
      if (earlier === undefined) firstRow[what].set(identity, row);
      else faults.add(row, `${MEMBER_OF[what]} is that of row ${earlier}`);
    }
    units.push(unit);
  });
  return { units, faults: faults.shown, faultCount: faults.count };
}

/** The member that a fault of uniqueness is told of. */
const MEMBER_OF = {
  serialNumber: 'serialNumber',
  eui: 'eui',
  hardware: 'hardwareId',
  vendorKey: 'vendorSpkiSha256',
} as const;

const MEMBERS: ReadonlySet<string> = new Set(['serialNumber', 'eui', 'hardwareId', 'productClass', 'vendorSpkiSha256']);
const SERIAL_NUMBER = /^[A-Z0-9-]{4,32}$/;
const EUI = /^(?:[0-9a-f]{12}|[0-9a-f]{16})$/;
/** No first character that makes a spreadsheet see a formula, no bracket that makes a page see a tag. */
const HARDWARE_ID = /^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$/;
const PRODUCT_CLASS = /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,31})?$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;

function checkRow(
  value: JsonValue,
  euiPrefixes: readonly string[],
  fault: (text: string) => void,
): ManifestUnit | null {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    fault('is not an object');
    return null;
  }
  if (Object.keys(value).some((name) => !MEMBERS.has(name))) fault('has an unknown member');
  const text = (name: string): string => {
    const member = value[name];
    // A member that is there and is no text fails every pattern below.
    return member === undefined || member === null ? '' : typeof member === 'string' ? member : NOT_TEXT;
  };
  const [serialNumber, hardwareId, productClass] = [text('serialNumber'), text('hardwareId'), text('productClass')];
  const eui = text('eui').toLowerCase();
  const vendorSpkiSha256 = text('vendorSpkiSha256');
  const good = {
    serialNumber: SERIAL_NUMBER.test(serialNumber) && !holdsSubscriberNumber(serialNumber),
    eui: EUI.test(eui),
    hardwareId: HARDWARE_ID.test(hardwareId) && !holdsSubscriberNumber(hardwareId),
    productClass: PRODUCT_CLASS.test(productClass) && !holdsSubscriberNumber(productClass),
    vendorSpkiSha256: vendorSpkiSha256 === '' || SHA256_HEX.test(vendorSpkiSha256),
  };
  if (!good.serialNumber) fault('serialNumber is not 4 to 32 of A-Z, 0-9 and -, or looks like a subscriber number');
  if (!good.eui) fault('eui is not 12 or 16 hexadecimal digits');
  else if (isGroupAddress(eui)) fault('eui is a group address');
  else if (!euiPrefixes.some((prefix) => eui.startsWith(prefix))) fault('eui is outside the maker’s ranges');
  if (!good.hardwareId) fault('hardwareId is not 1 to 64 letters, digits and ._:-, or looks like a subscriber number');
  if (!good.productClass) fault('productClass is not at most 32 letters, digits and ._-');
  if (!good.vendorSpkiSha256) fault('vendorSpkiSha256 is not 64 lower-case hexadecimal digits');
  if (!Object.values(good).every(Boolean)) return null;
  return {
    serialNumber,
    eui,
    hardwareId,
    productClass,
    vendorSpkiHash: vendorSpkiSha256 === '' ? null : Buffer.from(vendorSpkiSha256, 'hex'),
  };
}

/** Matches no pattern of a member. */
const NOT_TEXT = '\n';

/** Lowest bit of the first octet (IEEE 802): such an address names many. */
function isGroupAddress(eui: string): boolean {
  return (Number.parseInt(eui.slice(0, 2), 16) & 1) === 1;
}
