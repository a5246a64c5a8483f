/** A unit that wants to renew, in one of three languages. Each try ends with a certificate, or with how long to wait. */
import { createPrivateKey, createPublicKey, sign } from 'node:crypto';
import { connect as connectPlain } from 'node:net';
import { connect } from 'node:tls';
import type { Pins } from '../../src/agent/check-server.js';
import type { DeviceFiles } from '../../src/agent/device-files.js';
import type { EnrolClient } from '../../src/agent/enrol-client.js';
import { step } from '../../src/agent/femtocell.js';
import { newKeyPem } from '../../src/agent/unit-keys.js';
import { loadState, saveState, type UnitState } from '../../src/agent/unit-state.js';
import { stretched } from '../../src/agent/waits.js';
import { assembleCsr, certificationRequestInfo } from '../../src/x509/build-csr.js';
import { certificatePem } from '../../src/x509/certificate.js';
import { type PkiMessage, readPkiMessage } from '../../src/x509/cmp/index.js';
import { cmpRequest, requestBody } from '../../test/support/cmp-request.js';
import { HttpLine, httpRequest, type LineAnswer } from '../load/http-line.js';
import { prepareKur } from '../load/renew-by-cmp.js';
import { unitOf } from '../load/unit.js';
import type { UnitSeed } from '../servers/renewal-ports.js';
import type { Random } from './virtual-fleet.js';

export type Try =
  | { readonly did: 'renewed' }
  /** Told to come again: as the server said, stretched by the unit. */
  | { readonly did: 'waits'; readonly seconds: number }
  /** For good: nothing is mended by trying again. */
  | { readonly did: 'refused'; readonly code: string };

export interface ReturningUnit {
  /** @throws where nobody answered, or the answer broke off */
  tryOnce(): Promise<Try>;
}

export interface Servers {
  readonly enrolPort: number;
  readonly cmpPort: number;
  readonly client: EnrolClient;
  readonly pins: Pins;
  /** The fleet's time. */
  readonly now: () => Date;
  readonly random: Random;
}

const RENEWED: Try = { did: 'renewed' };
/** Where the server did not say when. */
const WAIT_SECONDS = 30;

/** The reference femtocell, its flash in memory. */
export function restUnit({ client, pins, now, random }: Servers, seed: UnitSeed, chainPem: string): ReturningUnit {
  const files = memoryFiles();
  const past = new Date(0).toISOString();
  const certificatePemText = certificatePem(Buffer.from(seed.certificate, 'base64'));
  const state: UnitState = {
    version: 1,
    bootstrap: { keyPem: seed.key, certificatePem: certificatePemText, chainPem: '' },
    current: {
      keyPem: seed.key,
      certificatePem: certificatePemText,
      chainPem,
      generation: 1,
      renewFrom: past,
      renewUntil: past,
      renewAt: past,
      isConfirmed: true,
    },
    pending: null,
    lineageToken: null,
    timeSeen: null,
  };
  saveState(files, state);
  return {
    tryOnce: async () => {
      const { did, code, waitSeconds } = await step({ files, client, accessRoot: pins.accessRoot, now, random });
      if (did === 'refused' || did === 'reactivate') return { did: 'refused', code: `REST ${code}` };
      const { generation, isConfirmed } = loadState(files)?.current ?? { generation: 0, isConfirmed: false };
      return generation > 1 && isConfirmed ? RENEWED : { did: 'waits', seconds: waitSeconds };
    },
  };
}

/** simplereenroll, RFC 7030 section 4.2.2; 202 and 503 say when to send the same request again. */
export function estUnit({ enrolPort, random }: Servers, seed: UnitSeed): ReturningUnit {
  const keyPem = newKeyPem();
  const key = createPrivateKey(keyPem);
  const spkiDer = createPublicKey(keyPem).export({ type: 'spki', format: 'der' });
  const info = certificationRequestInfo({ commonName: null, spkiDer });
  const csr = assembleCsr(info, 'ecdsa-with-SHA256', sign('sha256', info, key));
  const body = Buffer.from(csr.toString('base64'), 'latin1');
  const request = httpRequest('POST /.well-known/est/simplereenroll', { 'content-type': 'application/pkcs10' }, body);
  const dial = () =>
    connect({
      port: enrolPort,
      host: '127.0.0.1',
      servername: 'localhost',
      cert: certificatePem(Buffer.from(seed.certificate, 'base64')),
      key: seed.key,
      rejectUnauthorized: false,
    });
  return {
    tryOnce: async () => {
      const line = new HttpLine(dial, 'secureConnect');
      try {
        const answer = await line.ask(request);
        if (answer.status === 200) return RENEWED;
        if (![202, 429, 503].includes(answer.status)) return { did: 'refused', code: `EST ${answer.status}` };
        return { did: 'waits', seconds: stretched(retryAfterOf(answer), random) };
      } finally {
        line.end();
      }
    },
  };
}

/** kur, and while it waits pollReq; certConf ends it (RFC 9483 sections 4.1.3 and 4.4). */
export function cmpUnit({ cmpPort, random }: Servers, seed: UnitSeed): ReturningUnit {
  const unit = unitOf(seed);
  let { header, http } = prepareKur(unit);
  const message = (body: Buffer, last: PkiMessage): Buffer =>
    httpOf(
      cmpRequest({
        header: { ...header, ...(last.senderNonce === undefined ? {} : { recipNonce: last.senderNonce }) },
        body,
        protect: { kind: 'signature', key: unit.key },
        extraCerts: [unit.certificateDer],
      }),
    );
  let waitsAt: PkiMessage | null = null;
  return {
    tryOnce: async () => {
      const line = new HttpLine(() => connectPlain({ port: cmpPort, host: '127.0.0.1' }), 'connect');
      try {
        let said = read(await line.ask(waitsAt === null ? http : message(requestBody.pollReq(0), waitsAt)));
        if (isWaiting(said)) said = read(await line.ask(message(requestBody.pollReq(0), said)));
        if (said.body.kind === 'pollRep') {
          waitsAt = said;
          const seconds = Math.max(1, said.body.polls[0]?.checkAfterSeconds ?? 1);
          return { did: 'waits', seconds: stretched(seconds, random) };
        }
        const [response] = said.body.kind === 'kup' ? said.body.responses : [];
        const certificateDer = response?.certificateDer;
        if (certificateDer === undefined) return { did: 'refused', code: `CMP ${said.body.kind}` };
        const conf = read(await line.ask(message(requestBody.certConf({ certificateDer, status: 0 }), said)));
        if (conf.body.kind !== 'pkiConf') throw new Error(`CMP said ${conf.body.kind} to certConf`);
        return RENEWED;
      } catch (error) {
        // Begun anew: an exchange whose answer was lost is not continued under another nonce.
        ({ header, http } = prepareKur(unit));
        waitsAt = null;
        throw error;
      } finally {
        line.end();
      }
    },
  };
}

function isWaiting({ body }: PkiMessage): boolean {
  return body.kind === 'kup' && body.responses[0]?.status.status === 'waiting';
}

function read({ status, body }: LineAnswer): PkiMessage {
  if (status !== 200) throw new Error(`HTTP ${status}`);
  return readPkiMessage(body);
}

function httpOf(message: Buffer): Buffer {
  return httpRequest('POST /.well-known/cmp', { 'content-type': 'application/pkixcmp' }, message);
}

function retryAfterOf({ head }: LineAnswer): number {
  const seconds = Number(/^retry-after: (\d+)\r?$/im.exec(head)?.[1]);
  return Number.isFinite(seconds) ? seconds : WAIT_SECONDS;
}

function memoryFiles(): DeviceFiles {
  const files = new Map<string, Buffer>();
  return {
    read: (name) => files.get(name) ?? null,
    write: (name, content) => void files.set(name, content),
    sync: () => undefined,
    rename: (from, to) => {
      files.set(to, files.get(from) ?? Buffer.alloc(0));
      files.delete(from);
    },
    syncDirectory: () => undefined,
  };
}
