import { stringify } from 'yaml';
import type { ModuleSettings } from '../../platform/hsm/token.js';
import { PROFILES } from '../../x509/profiles.js';
import type { CeremonyFile } from './ceremony-file.js';
import { onlinePinFile } from './pins.js';

const HOUR = 3_600;
const DAY = 24 * HOUR;

const HEAD = `# The signer's own file: what may be signed, whatever a request or the database says (see hsm-config/README.md).
# Written by the ceremony. Lives are seconds, notBefore to notAfter inclusive. Paths are relative to this folder.
`;

/** signer.yaml for the keys of this ceremony, with the ceilings of the rules. */
export function signerYaml(options: { file: CeremonyFile; installation: string; module: ModuleSettings }): string {
  const { file, installation, module } = options;
  const labels = (kind: CeremonyFile['cas'][number]['kind']) =>
    file.cas.filter((ca) => ca.kind === kind).map((ca) => ca.label);
  const services = Object.values(PROFILES).filter(
    ({ name }) => name.startsWith('services-') && name !== 'services-ca' && name !== 'services-audit',
  );
  const document = {
    installation,
    module: { path: module.path, environment: { ...module.environment } },
    tokenLabel: file.onlineToken,
    pinFile: `../${onlinePinFile('.')}`,
    hierarchyFile: '../ca/hierarchy.json',
    stateDir: '.',
    runDir: '../run',
    leavesPerSecondMax: 5_000,
    clockSkewSeconds: 60,
    backdateSecondsMax: 2 * HOUR,
    purposes: {
      operational: {
        lifeSecondsMax: 31 * DAY,
        extendedKeyUsages: [[...PROFILES.operational.ekus]],
        keys: labels('device-ca'),
        dnsUnder: file.realm,
      },
      bootstrap: {
        lifeSecondsMax: 1_096 * DAY,
        extendedKeyUsages: [[...PROFILES.bootstrap.ekus]],
        keys: labels('bootstrap-ca'),
        dnsUnder: file.realm,
      },
      services: {
        lifeSecondsMax: 30 * DAY,
        extendedKeyUsages: distinct(services.map(({ ekus }) => [...ekus])),
        keys: labels('services-ca'),
      },
      preissue: {
        lifeSecondsMax: 31 * DAY,
        extendedKeyUsages: [[...PROFILES.operational.ekus]],
        keys: labels('device-ca'),
        dnsUnder: file.realm,
      },
      'ocsp-signer': {
        lifeSecondsMax: 14 * DAY,
        extendedKeyUsages: [[...PROFILES['ocsp-signer'].ekus]],
        keys: file.cas.map((ca) => ca.label),
      },
      crl: { lifeSecondsMax: 24 * HOUR, keys: file.cas.map((ca) => ca.label) },
      ocsp: { lifeSecondsMax: 4 * HOUR, keys: Object.fromEntries(file.cas.map((ca) => [ca.ocspKey, ca.label])) },
      'audit-head': { keys: [file.audit.label], epochMax: 1 },
    },
    journal: { rotateBytes: 64 * 1024 * 1024 },
  };
  return HEAD + stringify(document);
}

function distinct(lists: string[][]): string[][] {
  return [...new Map(lists.map((list) => [[...list].sort().join(' '), list])).values()];
}
