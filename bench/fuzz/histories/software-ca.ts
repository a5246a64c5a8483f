import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Hierarchy, HierarchyEntry } from '../../../src/platform/hsm/hierarchy.js';
import type { Signer } from '../../../src/platform/signer.js';
import { certificatePem, readCertificate } from '../../../src/x509/certificate.js';
import { VendorPki } from '../../../test/support/vendor-ca.js';

export interface SoftwareCa {
  readonly hierarchy: Hierarchy;
  readonly signer: Signer;
}

const REALM = 'femto.hanbit.example';

/**
 * A Device CA whose key is in memory: the token's signer refuses times that are not now, and histories last for weeks. What
 * a signer judges is tested elsewhere; here it signs what it is given.
 */
export function makeSoftwareCa(): SoftwareCa {
  const pki = new VendorPki();
  try {
    const root = pki.root({ subject: '/O=Hanbit Mobile/CN=Access Root', days: 7_300 });
    const ca = pki.ca(root, {
      subject: '/O=Hanbit Mobile/CN=Device CA 1',
      days: 1_825,
      extensions: [
        'basicConstraints=critical,CA:TRUE,pathlen:0',
        'keyUsage=critical,keyCertSign,cRLSign',
        `nameConstraints=critical,permitted;DNS:${REALM}`,
      ],
    });
    const key = createPrivateKey(readFileSync(ca.keyFile));
    return {
      hierarchy: {
        version: 1,
        installation: 'fuzz',
        operator: 'Hanbit Mobile',
        realm: REALM,
        mode: 'demo',
        entries: [
          entry('access-root', 'root-access', root.der, 'access-root'),
          entry('device-ca-1', 'device-ca', ca.der, 'access-root'),
        ],
      },
      signer: {
        sign: async (requests) => requests.map(({ tbs }) => ({ ok: true, signature: sign('sha256', tbs, key) })),
        close: async () => undefined,
      },
    };
  } finally {
    pki.remove();
  }
}

function entry(label: string, kind: 'root-access' | 'device-ca', der: Buffer, issuerLabel: string): HierarchyEntry {
  const { serial, subjectDer, ski, spki, notBefore, notAfter } = readCertificate(der);
  return {
    label,
    kind,
    state: kind === 'device-ca' ? 'active' : 'offline',
    keyLabel: label,
    tokenLabel: 'none',
    issuerLabel,
    certificatePem: certificatePem(der),
    certificateSha256: '',
    serialHex: serial.toString('hex'),
    subjectDerHex: subjectDer.toString('hex'),
    keyIdentifierHex: (ski ?? spki.keyIdentifier).toString('hex'),
    spkiHex: spki.spkiDer.toString('hex'),
    notBefore: notBefore.toISOString(),
    notAfter: notAfter.toISOString(),
  };
}
