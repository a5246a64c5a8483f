import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import type { StoredTransaction } from '../../../src/protocol/cmp/transaction-store.js';
import { assembleCsr, certificationRequestInfo } from '../../../src/x509/build-csr.js';
import { directoryNameOf, INFO_TYPE, readPkiMessage } from '../../../src/x509/cmp/index.js';
import { explicitTag, sequence } from '../../../src/x509/der.js';
import { extension } from '../../../src/x509/extension.js';
import { OID } from '../../../src/x509/oids.js';
import {
  type CertReqParts,
  certProfile,
  certReqMsg,
  cmpRequest,
  IMPLICIT_CONFIRM,
  oldCertId,
  pbm,
  pbmac1,
  type RequestHeader,
  type RequestProtection,
  regToken,
  requestBody,
  spkiOf,
} from '../../../test/support/cmp-request.js';
import { FQDN } from '../../../test/unit/x509/hierarchy.js';
import type { FuzzKey } from './oracle.js';
import { CLOCK, GRANTED, HOLDERS, type Holder, MAC_REFERENCE, MAC_SECRET } from './world.js';

/** A valid message, and what must be so before it. */
export interface CmpSeed {
  readonly name: string;
  readonly der: Buffer;
  readonly path: string;
  /** A foreign message's body is protected anew under the header of this one. */
  readonly under?: Buffer;
  /** Protects it anew. */
  readonly key: FuzzKey;
  /** The key that its request asks a certificate for. */
  readonly newKey: KeyObject;
  readonly transactions: readonly StoredTransaction[];
  /** The kept message that a pollReq asks about. */
  readonly request: Buffer | null;
  /** The rooms ask for live proof. */
  readonly waits: boolean;
}

const PATH = '/.well-known/cmp';
const { operational, bootstrap, vendor } = HOLDERS;
const subjectOf = ({ certificate }: Holder): Buffer => certificate.subjectDer;

/** Every body that is served, under every kind of key that may send it, with and without what is optional. */
export function cmpSeeds(): CmpSeed[] {
  return [...signedRequests(), ...macRequests(), ...questions(), ...revocations(), ...followUps()];
}

interface SeedParts {
  readonly name: string;
  readonly body: Buffer;
  readonly newKey?: KeyObject;
  readonly header?: RequestHeader;
  readonly path?: string;
  readonly transactions?: readonly StoredTransaction[];
  readonly request?: Buffer;
  readonly waits?: boolean;
}

function signed(holder: Holder, parts: SeedParts): CmpSeed {
  const header = { sender: directoryNameOf(subjectOf(holder)), ...parts.header };
  const der = cmpRequest({
    body: parts.body,
    header,
    protect: { kind: 'signature', key: holder.key },
    extraCerts: [holder.certificate.der, ...holder.chain],
  });
  return seed({ ...parts, name: `${parts.name} ${holder.kind}` }, der, { kind: 'signature', key: holder.key });
}

function seed(parts: SeedParts, der: Buffer, key: FuzzKey): CmpSeed {
  const { name, newKey = newKeyPair(), path = PATH, transactions = [], request = null, waits = false } = parts;
  return { name, der, path, key, newKey, transactions, request, waits };
}

const newKeyPair = (curve: 'P-256' | 'P-384' = 'P-256'): KeyObject =>
  generateKeyPairSync('ec', { namedCurve: curve }).privateKey;

const altName = extension(
  OID.subjectAltName,
  false,
  sequence(Buffer.concat([Buffer.from([0x82, FQDN.length]), Buffer.from(FQDN)])),
);
const keyUsage = extension(OID.keyUsage, true, Buffer.from('03020780', 'hex'));

function signedRequests(): CmpSeed[] {
  const wishes: readonly [string, Partial<CertReqParts>, SeedParts['header']][] = [
    ['plain', {}, {}],
    ['named', { subjectDer: subjectOf(operational), extensions: [altName, keyUsage] }, { pvno: 3, messageTime: CLOCK }],
    [
      'implicit',
      { popo: 'poposkInput' },
      { generalInfo: [IMPLICIT_CONFIRM, certProfile('fc-1')], freeText: ['hello'] },
    ],
    ['token', { controls: [regToken('ABCD-EFGH-JKLM-NPQR')] }, {}],
    ['old', { controls: [oldCertId(operational.certificate.issuerDer, operational.certificate.serial)] }, {}],
    ['p384', { algorithm: 'ecdsa-with-SHA384' }, {}],
  ];
  const seeds: CmpSeed[] = [];
  for (const holder of [operational, bootstrap, vendor]) {
    for (const [wish, parts, header = {}] of wishes) {
      if (wish === 'old' && holder !== operational) continue;
      for (const kind of ['ir', 'cr', 'kur'] as const) {
        if (kind === 'kur' && holder !== operational) continue;
        const newKey = newKeyPair(wish === 'p384' ? 'P-384' : 'P-256');
        const body = requestBody[kind](certReqMsg({ key: newKey, ...parts }));
        seeds.push(signed(holder, { name: `${kind} ${wish}`, body, newKey, header }));
      }
    }
    const newKey = newKeyPair();
    const path = `${PATH}/p/fc-1/pkcs10`;
    seeds.push(signed(holder, { name: 'p10cr', body: requestBody.p10cr(csrOf(newKey)), newKey, path }));
  }
  return seeds;
}

function csrOf(key: KeyObject): Buffer {
  const info = certificationRequestInfo({ commonName: FQDN, spkiDer: spkiOf(key) });
  return assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key));
}

function macRequests(): CmpSeed[] {
  return [pbm({ rounds: 200 }), pbmac1({ rounds: 200 })].flatMap((algorithmDer) =>
    (['ir', 'cr', 'p10cr'] as const).map((kind) => {
      const newKey = newKeyPair();
      const body = kind === 'p10cr' ? requestBody.p10cr(csrOf(newKey)) : requestBody[kind](certReqMsg({ key: newKey }));
      const protect: RequestProtection = { kind: 'mac', secret: MAC_SECRET, reference: MAC_REFERENCE, algorithmDer };
      return seed({ name: `${kind} mac`, body, newKey }, cmpRequest({ body, protect }), {
        kind: 'mac',
        secret: MAC_SECRET,
      });
    }),
  );
}

function questions(): CmpSeed[] {
  const crlStatus = sequence(sequence(explicitTag(1, sequence(directoryNameOf(operational.certificate.issuerDer)))));
  const items: readonly { oid: string; valueDer?: Buffer }[] = [
    ...[INFO_TYPE.caCerts, INFO_TYPE.certReqTemplate, INFO_TYPE.currentCrl, INFO_TYPE.signKeyPairTypes].map((oid) => ({
      oid,
    })),
    { oid: INFO_TYPE.rootCaCert, valueDer: operational.certificate.der },
    { oid: INFO_TYPE.crlStatusList, valueDer: crlStatus },
  ];
  return [
    signed(operational, { name: 'genm empty', body: requestBody.genm() }),
    ...items.map((item) => signed(vendor, { name: `genm ${item.oid}`, body: requestBody.genm(item) })),
  ];
}

function revocations(): CmpSeed[] {
  const { issuerDer, serial } = operational.certificate;
  return [0, 1, 4, 5].map((reasonCode) =>
    signed(operational, { name: `rr ${reasonCode}`, body: requestBody.rr({ issuerDer, serial, reasonCode }) }),
  );
}

/** certConf and pollReq, each with the exchange it goes on with. */
function followUps(): CmpSeed[] {
  const { issuerId = 1, serial = Buffer.alloc(16, 1), notAfter = CLOCK } = GRANTED.record ?? {};
  const certificateDer = GRANTED.certificate.der;
  const seeds: CmpSeed[] = [];
  for (const holder of [operational, bootstrap, vendor]) {
    for (const status of [0, 2]) {
      const exchange = exchangeOf(holder, 'unconfirmed');
      const transactions = [{ ...exchange.row, certificate: { issuerId, serial, notAfter } }];
      const body = requestBody.certConf({ certificateDer, status });
      seeds.push(signed(holder, { name: `certConf ${status}`, body, header: exchange.header, transactions }));
    }
    for (const waits of [true, false]) {
      const exchange = exchangeOf(holder, 'waiting');
      const newKey = newKeyPair();
      const kind = holder === operational ? 'kur' : 'ir';
      const kept = signed(holder, { name: 'kept', body: requestBody[kind](certReqMsg({ key: newKey })), newKey });
      const transactions = [{ ...exchange.row, request: readPkiMessage(kept.der).protectedDer }];
      const body = requestBody.pollReq(0);
      const { header } = exchange;
      seeds.push(
        signed(holder, {
          name: waits ? 'pollReq, waits' : 'pollReq',
          body,
          header,
          transactions,
          request: kept.der,
          waits,
        }),
      );
    }
  }
  return seeds;
}

function exchangeOf({ certificate }: Holder, state: StoredTransaction['state']) {
  const [transactionId, ourNonce] = [randomBytes(16), randomBytes(16)];
  const hash = randomBytes(32);
  const row: StoredTransaction = {
    ...{
      transactionId,
      protectionKey: certificate.spki.spkiHash,
      bodyKind: 'kur',
      state,
      firstHash: hash,
      lastHash: hash,
    },
    ...{ response: null, request: null, ourNonce, ourNonceAt: CLOCK, certificate: null, claimedAt: CLOCK },
  };
  return { row, header: { transactionId, recipNonce: ourNonce } };
}
