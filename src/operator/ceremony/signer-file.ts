import { readFileSync } from 'node:fs';
import { isMap, isSeq, parseDocument, stringify } from 'yaml';
import { FemtoError } from '../../platform/errors.js';
import { writeDurably } from '../../platform/hsm/durable-file.js';
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

/**
 * Lets the signer use the keys of new Device CAs, with the ceilings that stand; comments and everything else stay as people
 * wrote them. Again changes nothing. The running signer takes it up by itself.
 *
 * @throws FemtoError INTERNAL where the file is none of ours
 */
export function widenSignerFile(
  path: string,
  cas: readonly { readonly label: string; readonly ocspKey: string }[],
): void {
  const before = readFileSync(path, 'utf8');
  const document = parseDocument(before);
  for (const { label, ocspKey } of cas) {
    for (const purpose of ['operational', 'preissue', 'ocsp-signer', 'crl']) {
      const keys = document.getIn(['purposes', purpose, 'keys']);
      if (!isSeq(keys)) throw new FemtoError('INTERNAL', `${path} lists no keys of ${purpose}; restore the file.`);
      if (!(keys.toJSON() as unknown[]).includes(label)) keys.add(label);
    }
    const answers = document.getIn(['purposes', 'ocsp', 'keys']);
    if (!isMap(answers)) throw new FemtoError('INTERNAL', `${path} lists no OCSP keys; restore the file.`);
    answers.set(ocspKey, label);
  }
  const after = document.toString();
  if (after !== before) writeDurably(path, after);
}

function distinct(lists: string[][]): string[][] {
  return [...new Map(lists.map((list) => [[...list].sort().join(' '), list])).values()];
}
