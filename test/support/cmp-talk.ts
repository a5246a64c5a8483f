/** Hand-made CMP messages for what no client sends on purpose: one unit's key against one replica. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { readCertificate } from '../../src/x509/certificate.js';
import {
  directoryNameOf,
  type FailInfo,
  type PkiMessage,
  readPkiMessage,
  verifySignatureProtection,
} from '../../src/x509/cmp/index.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { type CertReqParts, certReqMsg, cmpRequest, type RequestHeader, type RequestParts } from './cmp-request.js';
import type { CmpReplica, CmpWorld } from './cmp-world.js';
import type { CurlCredential } from './curl-unit.js';

/** A key and its certificate, in hand. */
export interface Holder {
  readonly key: KeyObject;
  readonly der: Buffer;
  readonly subjectDer: Buffer;
  readonly issuerDer: Buffer;
  readonly serial: Buffer;
}

export interface Talk {
  /** A whole message, protected by the holder's key unless `parts` say otherwise. */
  message(holder: Holder, body: Buffer, header?: RequestHeader, parts?: Partial<RequestParts>): Buffer;
  /** Sends bytes; the answer, whose protection by the RA was checked, and its bytes. */
  send(der: Buffer, options?: { replica?: CmpReplica; path?: string }): Promise<Answered>;
}

export interface Answered {
  readonly der: Buffer;
  readonly message: PkiMessage;
  /** Body, status and the one failInfo, e.g. `error rejection badRequest`, `kup waiting`, `pkiConf`. */
  readonly said: string;
  /** The certificate in ip, cp, kup. */
  readonly certificateDer: Buffer | undefined;
  readonly text: string | undefined;
}

export function talkTo(cmp: CmpWorld): Talk {
  return {
    message: (holder, body, header = {}, parts = {}) =>
      cmpRequest({
        body,
        protect: { kind: 'signature', key: holder.key },
        header: { sender: directoryNameOf(holder.subjectDer), ...header },
        extraCerts: [holder.der],
        ...parts,
      }),
    send: async (der, options = {}) => {
      const { status, body, headers } = await cmp.post(der, options);
      if (status !== 200 || headers['content-type'] !== 'application/pkixcmp') {
        throw new Error(`not answered in CMP: ${status} ${JSON.stringify(headers)}`);
      }
      const message = readPkiMessage(body);
      const [ra] = message.extraCerts;
      const isByRa = ra !== undefined && cmp.ra?.certificateDer.equals(ra) === true;
      if (isByRa && message.protectionAlgDer?.[1] === 0x0a) {
        const { spki } = readCertificate(ra);
        if (!verifySignatureProtection(message, spki)) throw new Error('the RA’s protection does not verify');
      }
      return answered(body, message);
    },
  };
}

function answered(der: Buffer, message: PkiMessage): Answered {
  const { body } = message;
  const response = 'responses' in body ? body.responses[0] : undefined;
  const info = response?.status ?? ('status' in body ? body.status : 'statuses' in body ? body.statuses[0] : undefined);
  const status = info !== undefined && 'status' in info ? info : undefined;
  const failInfo: readonly FailInfo[] = status !== undefined && 'failInfo' in status ? status.failInfo : [];
  const word = status !== undefined && 'status' in status ? status.status : undefined;
  return {
    der,
    message,
    said: [body.kind, word, ...failInfo].filter((part) => part !== undefined).join(' '),
    certificateDer: response?.certificateDer,
    text: status !== undefined && 'text' in status ? status.text[0] : undefined,
  };
}

/** Header of the next message of an exchange. */
export function followUp({ message: { transactionId, senderNonce } }: Answered): RequestHeader {
  return { transactionId: transactionId ?? null, recipNonce: senderNonce ?? null };
}

export function holderOf({ pemFile, keyFile }: CurlCredential): Holder {
  const [block] = pemBlocks(readFileSync(pemFile, 'utf8'));
  if (block === undefined) throw new Error(`no certificate in ${pemFile}`);
  return withKey(block.der, createPrivateKey(readFileSync(keyFile)));
}

export function withKey(der: Buffer, key: KeyObject): Holder {
  const { subjectDer, issuerDer, serial } = readCertificate(der);
  return { key, der, subjectDer, issuerDer, serial };
}

export function freshKey(): KeyObject {
  return generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
}

/** One CertReqMsg for a fresh key unless given. */
export function wish(parts: Partial<CertReqParts> = {}): Buffer {
  return certReqMsg({ key: parts.key ?? freshKey(), ...parts });
}
