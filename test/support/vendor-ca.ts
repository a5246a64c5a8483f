/** A maker's PKI, made by OpenSSL as makers make theirs: roots, CAs below them, device certificates, CRLs. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Certificate, readCertificate } from '../../src/x509/certificate.js';
import { pemBlocks } from '../../src/x509/pem.js';

/** A key and its certificate, as files and as bytes. */
export interface VendorCertificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly der: Buffer;
}

export interface VendorWish {
  /** As openssl writes subjects: `/O=Maker/CN=Root`. */
  readonly subject: string;
  /** Default `ec` (P-256). */
  readonly key?: 'ec' | 'rsa2048' | 'rsa1024';
  /** Lines of extensions; the default is what a careful maker writes. */
  readonly extensions?: readonly string[];
  /** Default 1000, from now. */
  readonly days?: number;
  readonly digest?: 'sha256' | 'sha1';
  /** Signs the same key again. */
  readonly keyOf?: VendorCertificate;
  /** It was good for a day, two days ago. */
  readonly expired?: boolean;
}

export const CA_EXTENSIONS = ['basicConstraints=critical,CA:TRUE', 'keyUsage=critical,keyCertSign,cRLSign'];
export const LEAF_EXTENSIONS = ['basicConstraints=critical,CA:FALSE', 'keyUsage=critical,digitalSignature'];
const IDENTIFIERS = ['subjectKeyIdentifier=hash', 'authorityKeyIdentifier=keyid'];

const KEY_OPTIONS = {
  ec: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa2048: ['-newkey', 'rsa:2048'],
  rsa1024: ['-newkey', 'rsa:1024'],
} as const;

export class VendorPki {
  readonly #dir = mkdtempSync(join(tmpdir(), 'fp-vendor-'));
  #count = 0;

  root(wish: VendorWish): VendorCertificate {
    return this.#certify(null, { extensions: CA_EXTENSIONS, ...wish });
  }

  ca(parent: VendorCertificate, wish: VendorWish): VendorCertificate {
    return this.#certify(parent, { extensions: CA_EXTENSIONS, ...wish });
  }

  leaf(parent: VendorCertificate, wish: VendorWish): VendorCertificate {
    return this.#certify(parent, { extensions: LEAF_EXTENSIONS, ...wish });
  }

  /** DER. Begins now; `number` as it stands in the list. */
  crl(
    ca: VendorCertificate,
    {
      revoked = [],
      others = [],
      days = 30,
      number = 1,
    }: {
      revoked?: readonly VendorCertificate[];
      /** Further serial numbers, hex. */
      others?: readonly string[];
      days?: number;
      number?: number;
    },
  ): Buffer {
    const dir = this.#place();
    const listed = revoked.map(({ der }) => readCertificate(der).serial.toString('hex'));
    const serials = [...listed, ...others].map((serial) => serial.toUpperCase());
    writeFileSync(
      join(dir, 'index'),
      serials.map((serial) => `R\t400101000000Z\t260101000000Z\t${serial}\tunknown\t/CN=x\n`).join(''),
    );
    writeFileSync(join(dir, 'number'), `${number.toString(16).padStart(2, '0')}\n`);
    writeFileSync(
      join(dir, 'ca.cnf'),
      `[ca]\ndefault_ca=c\n[c]\ndatabase=${dir}/index\ncrlnumber=${dir}/number\ndefault_md=sha256\ncrl_extensions=x\n[x]\nauthorityKeyIdentifier=keyid\n`,
    );
    const pem = openssl([
      ...['ca', '-config', join(dir, 'ca.cnf'), '-gencrl', '-crldays', String(days)],
      ...['-cert', ca.certFile, '-keyfile', ca.keyFile],
    ]);
    return onlyBlock(pem);
  }

  remove(): void {
    rmSync(this.#dir, { recursive: true });
  }

  #place(): string {
    this.#count += 1;
    const dir = join(this.#dir, String(this.#count));
    mkdirSync(dir);
    return dir;
  }

  #certify(parent: VendorCertificate | null, wish: VendorWish): VendorCertificate {
    const { subject, key = 'ec', extensions = [], days = 1_000, digest = 'sha256', keyOf } = wish;
    const dir = this.#place();
    const [keyFile, requestFile, certFile] = [keyOf?.keyFile ?? join(dir, 'key'), join(dir, 'csr'), join(dir, 'cert')];
    const keyOptions = keyOf === undefined ? [...KEY_OPTIONS[key], '-nodes', '-keyout', keyFile] : ['-key', keyFile];
    openssl(['req', '-new', '-utf8', ...keyOptions, '-subj', subject, '-out', requestFile]);
    writeFileSync(join(dir, 'ext'), [...extensions, ...IDENTIFIERS, ''].join('\n'));
    if (wish.expired === true && parent !== null) {
      this.#certifyThen(dir, parent);
      return { certFile, keyFile, der: onlyBlock(readFileSync(certFile, 'utf8')) };
    }
    openssl([
      ...['x509', '-req', '-in', requestFile, `-${digest}`, '-days', String(days), '-extfile', join(dir, 'ext')],
      ...['-set_serial', `0x01${Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex')}`],
      ...(parent === null ? ['-signkey', keyFile] : ['-CA', parent.certFile, '-CAkey', parent.keyFile]),
      ...['-out', certFile],
    ]);
    return { certFile, keyFile, der: onlyBlock(readFileSync(certFile, 'utf8')) };
  }

  /** `openssl x509` begins now; only `openssl ca` takes dates. */
  #certifyThen(dir: string, parent: VendorCertificate): void {
    writeFileSync(join(dir, 'index'), '');
    writeFileSync(
      join(dir, 'ca.cnf'),
      `[ca]\ndefault_ca=c\n[c]\ndatabase=${dir}/index\nnew_certs_dir=${dir}\nrand_serial=yes\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\norganizationName=optional\n`,
    );
    const day = (offset: number): string =>
      new Date(Date.now() + offset * 86_400_000).toISOString().replaceAll(/[-:T]|\.\d+/g, '');
    openssl([
      ...['ca', '-batch', '-notext', '-config', join(dir, 'ca.cnf'), '-extfile', join(dir, 'ext')],
      ...['-cert', parent.certFile, '-keyfile', parent.keyFile, '-in', join(dir, 'csr'), '-out', join(dir, 'cert')],
      ...['-startdate', day(-2), '-enddate', day(-1)],
    ]);
  }
}

export function certificateOf({ der }: VendorCertificate): Certificate {
  return readCertificate(der);
}

export function spkiHashOf(certificate: VendorCertificate): Buffer {
  return certificateOf(certificate).spki.spkiHash;
}

function openssl(args: readonly string[]): string {
  return execFileSync('openssl', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

function onlyBlock(pem: string): Buffer {
  const [block] = pemBlocks(pem);
  if (block === undefined) throw new Error('openssl wrote no PEM');
  return block.der;
}
