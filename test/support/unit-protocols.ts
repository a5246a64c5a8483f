/**
 * A unit that speaks one of our protocols through a client that knows nothing of us: what the same life needs from each.
 * Expectations are the tests' own; a driver only says what it sends, and what came of it.
 */
import { createHash } from 'node:crypto';
import { copyFileSync, existsSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { runClient } from './command.js';
import { type CurlCredential, curlUnit } from './curl-unit.js';
import { estUnit } from './est-unit.js';
import { RA_SUBJECT } from './ra-subject.js';

export type Outcome =
  | { readonly kind: 'issued'; readonly op: CurlCredential }
  /** Refused for good; `said` is what the client was told. */
  | { readonly kind: 'refused'; readonly said: string }
  /** Told to come again. */
  | { readonly kind: 'later'; readonly said: string }
  /** Whatever was answered, the unit never had it. */
  | { readonly kind: 'lost' };

export interface Wish {
  /** Code of a grant; absent: an order stands for it. */
  readonly code?: string;
  /** Key to be certified; a fresh one unless given. */
  readonly keyFile?: string;
  /** The answer goes missing, and with it every later message of the exchange. */
  readonly loseAnswer?: boolean;
  /** The answer arrives; what would confirm it is never sent. */
  readonly unconfirmed?: boolean;
}

export interface UnitProtocol {
  readonly name: ProtocolName;
  /** False: this client has no place for a code, so an installer's order is its grant. */
  readonly saysCodes: boolean;
  newKey(): Promise<string>;
  /** Under the factory's certificate. */
  activate(as: CurlCredential, wish?: Wish): Promise<Outcome>;
  renew(as: CurlCredential, wish?: Wish): Promise<Outcome>;
  /** Makes the new certificate count, where the exchange itself did not. */
  confirm(op: CurlCredential): Promise<void>;
}

export const PROTOCOL_NAMES = ['REST', 'EST', 'EST by strongSwan', 'CMP'] as const;
export type ProtocolName = (typeof PROTOCOL_NAMES)[number];

export interface ProtocolTarget {
  /** Scratch, with `services-root.pem` and `access-root.pem` in it. */
  readonly dir: string;
  /** TLS listener on localhost. */
  readonly port: number;
  /** Plain HTTP listener for CMP. */
  readonly cmpPort: number;
  /** First use of a certificate at a gateway that verified its key; throws where it is not permitted. */
  readonly useAtGateway: (op: CurlCredential) => Promise<void>;
}

export function unitProtocols(target: ProtocolTarget): Readonly<Record<ProtocolName, UnitProtocol>> {
  const own = (): ProtocolTarget => ({ ...target, dir: scratchIn(target.dir) });
  return {
    REST: restProtocol(own()),
    EST: estProtocol(own()),
    'EST by strongSwan': strongswanProtocol(own()),
    CMP: cmpProtocol(own()),
  };
}

/** A directory of the client's own with the roots it trusts: clients number their files from one. */
export function scratchIn(dir: string): string {
  const scratch = mkdtempSync(join(dir, 'unit-'));
  for (const name of ['services-root.pem', 'access-root.pem']) copyFileSync(join(dir, name), join(scratch, name));
  return scratch;
}

/** The device API, with curl and openssl. */
function restProtocol({ dir, port }: ProtocolTarget): UnitProtocol {
  const unit = curlUnit(dir, port);
  const ask = async (path: '/v1/activate' | '/v1/renew', as: CurlCredential, wish: Wish): Promise<Outcome> => {
    const keyFile = wish.keyFile ?? (await unit.newKey());
    const nonce = await unit.call('GET', '/v1/nonce', { as });
    if (nonce.status !== 200) return restRefusal(nonce);
    const csr = await unit.csr(keyFile, nonce.body.nonce);
    const extra =
      path === '/v1/renew'
        ? { predecessorSignature: await unit.predecessorSignature(as.keyFile, nonce.body.nonce, csr) }
        : wish.code === undefined
          ? {}
          : { code: wish.code };
    // A unit keeps key and idempotency key together, so the same key is the same request.
    const idempotencyKey = createHash('sha256').update(keyFile).digest('hex').slice(0, 32);
    const answer = await unit.call('POST', path, {
      as,
      json: { csr: await unit.base64(csr), ...extra },
      headers: [`Idempotency-Key: ${idempotencyKey}`],
    });
    if (wish.loseAnswer === true) return { kind: 'lost' };
    if (answer.status !== 200) return restRefusal(answer);
    return { kind: 'issued', op: { keyFile, pemFile: unit.store('op.pem', answer.body.certificate) } };
  };
  return {
    name: 'REST',
    saysCodes: true,
    newKey: unit.newKey,
    activate: (as, wish = {}) => ask('/v1/activate', as, wish),
    renew: (as, wish = {}) => ask('/v1/renew', as, wish),
    confirm: async (op) => {
      const { status, body } = await unit.call('POST', '/v1/confirm', { as: op });
      if (status !== 200) throw new Error(`not confirmed: ${JSON.stringify(body)}`);
    },
  };
}

function restRefusal({ status, body }: { status: number; body: unknown }): Outcome {
  const said = JSON.stringify(body);
  if (status === 503 || status === 429) return { kind: 'later', said };
  if (status >= 400 && status < 500) return { kind: 'refused', said };
  throw new Error(`no answer: ${status} ${said}`);
}

/** EST with curl and openssl. What EST has no message for, the first use at a gateway says. */
function estProtocol({ dir, port, useAtGateway }: ProtocolTarget): UnitProtocol {
  const unit = estUnit(dir, port);
  const ask = async (operation: string, as: CurlCredential, { code, keyFile, loseAnswer }: Wish): Promise<Outcome> => {
    const { status, text, op } = await unit.enroll(operation, {
      as,
      ...(code === undefined ? {} : { code }),
      ...(keyFile === undefined ? {} : { keyFile }),
    });
    if (loseAnswer === true) return { kind: 'lost' };
    if (op !== null) return { kind: 'issued', op };
    if (status === 202 || status === 503) return { kind: 'later', said: text };
    if (status >= 400 && status < 500) return { kind: 'refused', said: text };
    throw new Error(`no answer to ${operation}: ${status} ${text}`);
  };
  return {
    name: 'EST',
    saysCodes: true,
    newKey: unit.newKey,
    activate: (as, wish = {}) => ask('simpleenroll', as, wish),
    renew: (as, wish = {}) => ask('simplereenroll', as, wish),
    confirm: useAtGateway,
  };
}

/** EST with strongSwan's own client, which sends simplereenroll whatever certificate it has, and waits by itself. */
function strongswanProtocol({ dir, port, useAtGateway }: ProtocolTarget): UnitProtocol {
  const unit = estUnit(dir, port);
  const ask = async (as: CurlCredential, wish: Wish): Promise<Outcome> => {
    const keyFile = wish.keyFile ?? (await unit.newKey());
    const request = await unit.csr(keyFile, null);
    const credential = ['--cert', as.pemFile, '--key', as.keyFile];
    const code = wish.code === undefined ? [] : ['--userpass', `unit:${wish.code}`];
    const waiting = ['--interval', '1', '--maxpolltime', '1'];
    const { code: exit, text } = await unit.pki('--est', [
      ...['--in', request, ...credential, ...code, ...waiting, '--outform', 'pem'],
    ]);
    if (wish.loseAnswer === true) return { kind: 'lost' };
    const pem = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----\n/.exec(text)?.[0];
    if (exit === 0 && pem !== undefined) return { kind: 'issued', op: { keyFile, pemFile: unit.store('ss.pem', pem) } };
    if (/request pending/.test(text)) return { kind: 'later', said: text };
    if (/HTTP 4\d\d/.test(text)) return { kind: 'refused', said: text };
    throw new Error(`no answer to pki --est: ${text}`);
  };
  return {
    name: 'EST by strongSwan',
    saysCodes: true,
    newKey: unit.newKey,
    activate: (as, wish = {}) => ask(as, wish),
    renew: (as, wish = {}) => ask(as, wish),
    confirm: useAtGateway,
  };
}

/**
 * CMP with `openssl cmp`, which confirms by itself. OpenSSL 3.0 has no option for regToken, so an order is the grant; and
 * with `-disable_confirm` it is a unit whose certConf, or whose answer, never arrived.
 */
function cmpProtocol({ dir, port, cmpPort }: ProtocolTarget): UnitProtocol {
  const unit = curlUnit(dir, port);
  const ask = async (command: 'ir' | 'kur', as: CurlCredential, wish: Wish): Promise<Outcome> => {
    const keyFile = wish.keyFile ?? (await unit.newKey());
    const pemFile = unit.file('cmp.pem');
    const { code: exit, text } = await runClient('openssl', [
      ...cmpArguments({ dir, cmpPort }, command, as),
      ...['-newkey', keyFile, '-certout', pemFile],
      ...(wish.loseAnswer === true || wish.unconfirmed === true ? ['-disable_confirm'] : []),
    ]);
    if (wish.loseAnswer === true) return { kind: 'lost' };
    if (exit === 0 && existsSync(pemFile)) return { kind: 'issued', op: { keyFile, pemFile } };
    if (/total timeout/.test(text)) return { kind: 'later', said: text };
    if (/PKIStatus: rejection/.test(text)) return { kind: 'refused', said: text };
    throw new Error(`no answer to ${command}: ${text}`);
  };
  return {
    name: 'CMP',
    saysCodes: false,
    newKey: unit.newKey,
    activate: (as, wish = {}) => ask('ir', as, wish),
    renew: (as, wish = {}) => ask('kur', as, wish),
    confirm: async () => undefined,
  };
}

/** What every call of `openssl cmp` carries. */
export function cmpArguments(
  { dir, cmpPort }: Pick<ProtocolTarget, 'dir' | 'cmpPort'>,
  command: 'ir' | 'cr' | 'p10cr' | 'kur',
  as: CurlCredential,
): string[] {
  return [
    ...['cmp', '-config', '', '-cmd', command, '-server', `127.0.0.1:${cmpPort}`, '-path', '/.well-known/cmp'],
    ...['-cert', as.pemFile, '-key', as.keyFile, '-trusted', join(dir, 'services-root.pem')],
    ...['-expect_sender', RA_SUBJECT],
    ...['-out_trusted', join(dir, 'access-root.pem'), '-total_timeout', '15', '-verbosity', '6', '-batch'],
  ];
}
