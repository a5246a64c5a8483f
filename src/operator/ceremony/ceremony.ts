/**
 * The acts of a ceremony, each of which leaves its traces in the transcript: generate, certify, enter, write. In which
 * order they happen, run-ceremony.ts says.
 */
import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock, RandomBytes } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import { checkKeyAttributes } from '../../platform/hsm/check-key-attributes.js';
import { writeDurably } from '../../platform/hsm/durable-file.js';
import { type Hierarchy, type HierarchyEntry, hierarchyPath } from '../../platform/hsm/hierarchy.js';
import { firstLastHead, writeLastHead } from '../../platform/hsm/judge-head.js';
import { signerConfigPath } from '../../platform/hsm/signer-config.js';
import type {
  CeremonySession,
  ModuleSettings,
  OpenTokenStore,
  TokenCurve,
  TokenKey,
} from '../../platform/hsm/token.js';
import type { Certificate } from '../../x509/certificate.js';
import type { CeremonyFile } from './ceremony-file.js';
import { certify, signRootCrl, signTbs, type Urls } from './certify.js';
import {
  BACKDATE,
  caUrlOf,
  crlUrlOf,
  DAY_SECONDS,
  hierarchyEntry,
  isIssuerKind,
  ocspUrlOf,
  yearsSeconds,
} from './hierarchy-entry.js';
import { type TokenPins, tokenPins } from './pins.js';
import { signerYaml } from './signer-file.js';
import type { TokenPlaces } from './token-places.js';
import { type Transcript, transcriptText } from './transcript.js';

export interface CeremonyDeps {
  readonly openStore: OpenTokenStore;
  readonly clock: Clock;
  readonly random: RandomBytes;
  /** Told before each step, for a person who waits. */
  readonly onStep: (step: { readonly number: number; readonly of: number; readonly text: string }) => void;
}

export interface CeremonyOptions {
  /** Path of the ceremony file, e.g. hsm-config/ceremony/demo.yaml. */
  readonly file: string;
  readonly dataDir: string;
  readonly module: ModuleSettings;
  /** What the installation runs as; a demo file is refused in production and the reverse. */
  readonly mode: 'demo' | 'production';
  readonly baseUrls: {
    /** Public address of the status server without trailing slash, e.g. `http://pki.hanbit.example:8080`. */
    readonly status: string;
  };
  /** Demo only: names from the installation's configuration, in place of the file's. */
  readonly operator?: string;
  readonly realm?: string;
}

export interface CeremonyOutcome {
  readonly installation: string;
  readonly hierarchyPath: string;
  readonly transcriptPath: string;
  readonly signerConfigPath: string;
  readonly hierarchy: Hierarchy;
}

interface Issuer {
  readonly certificate: Certificate;
  readonly key: TokenKey;
}

export class Ceremony {
  private readonly installation: string;
  private readonly entries: HierarchyEntry[] = [];
  private readonly tokens: Transcript['tokens'][number][] = [];
  private readonly keys: Transcript['keys'][number][] = [];
  private readonly crls: { label: string; der: Buffer }[] = [];
  private readonly onlineKeys = new Map<string, TokenKey>();
  private readonly issuers = new Map<string, Issuer>();

  constructor(
    private readonly deps: CeremonyDeps,
    private readonly options: CeremonyOptions,
    private readonly file: CeremonyFile,
    private readonly now: Date,
  ) {
    // In every issuer's name, so that no two installations of one operator ever share a DN (rules 1.3).
    this.installation = deps.random(8).toString('hex');
    for (const folder of ['ca', 'signer', 'secrets', 'run', 'crl']) {
      mkdirSync(join(options.dataDir, folder), { recursive: true, mode: folder === 'secrets' ? 0o700 : 0o750 });
    }
  }

  generateOnlineKeys(places: TokenPlaces): TokenPins {
    const { file } = this;
    const labels = [...file.cas.map((ca) => ca.label), ...file.cas.map((ca) => ca.ocspKey), file.audit.label];
    const pins = this.pins(file.onlineToken, true);
    this.withNewToken(places.online, file.onlineToken, pins, (session) => {
      for (const label of labels) this.onlineKeys.set(label, this.generate(session, file.onlineToken, label, 'P-256'));
    });
    return pins;
  }

  signRoots(places: TokenPlaces): void {
    for (const root of this.file.roots) {
      this.withNewToken(places.offline, root.token, this.pins(root.token, false), (session) => {
        const key = this.generate(session, root.token, root.label, 'P-384');
        const certificate = this.certify(session, root.commonName, 'root', key, undefined, {
          backdateSeconds: BACKDATE.root,
          lifeSeconds: yearsSeconds(this.file.rootYears, this.now),
        });
        const issuer = { certificate, key };
        this.enter(
          { label: root.label, kind: root.kind, state: 'offline', issuerLabel: root.label, tokenLabel: root.token },
          issuer,
        );
        const first = { number: 1n, thisUpdate: this.now, days: this.file.rootCrlDays, entries: [] };
        this.crls.push({ label: root.label, der: signRootCrl(session, issuer, first) });
        for (const ca of this.file.cas.filter((candidate) => candidate.root === root.label)) {
          const caKey = this.onlineKey(ca.label);
          const signed = this.certify(session, ca.commonName, ca.kind, caKey, issuer, {
            backdateSeconds: BACKDATE.ca,
            lifeSeconds: yearsSeconds(this.file.caYears, this.now),
            urls: { crlUrl: this.crlUrl(root.label), caUrl: this.caUrl(root.label) },
            ...(ca.kind === 'device-ca' ? { nameConstraintDns: this.file.realm } : {}),
          });
          const { label, kind, state } = ca;
          this.enter(
            { label, kind, state, issuerLabel: root.label, tokenLabel: this.file.onlineToken },
            { certificate: signed, key: caKey },
          );
        }
      });
    }
  }

  certifyOnline(places: TokenPlaces, pins: TokenPins, then: (session: CeremonySession) => void): void {
    const store = this.deps.openStore(places.online);
    try {
      const session = store.open({ label: this.file.onlineToken, userPin: pins.userPin });
      for (const ca of this.file.cas) {
        session.key(ca.label);
        const key = session.key(ca.ocspKey);
        const certificate = this.certify(session, `${ca.commonName} OCSP`, 'ocsp-signer', key, this.issuer(ca.label), {
          backdateSeconds: BACKDATE.leaf,
          lifeSeconds: this.file.ocspSignerDays * DAY_SECONDS,
        });
        this.enter(
          {
            label: ca.ocspKey,
            kind: 'ocsp-signer',
            state: ca.state,
            issuerLabel: ca.label,
            tokenLabel: this.file.onlineToken,
            answersFor: ca.label,
          },
          { certificate, key },
        );
      }
      const { label, issuer } = this.file.audit;
      const key = session.key(label);
      const certificate = this.certify(session, 'Audit', 'services-audit', key, this.issuer(issuer), {
        backdateSeconds: BACKDATE.leaf,
        lifeSeconds: this.file.auditDays * DAY_SECONDS,
        urls: { crlUrl: this.crlUrl(issuer), caUrl: this.caUrl(issuer), ocspUrl: this.ocspUrl() },
      });
      this.enter(
        { label, kind: 'audit', state: 'active', issuerLabel: issuer, tokenLabel: this.file.onlineToken },
        { certificate, key },
      );
      then(session);
      session.close();
    } finally {
      store.close();
    }
  }

  writeEverything(session: CeremonySession, places: TokenPlaces, fileSha256Hex: string): void {
    const { dataDir } = this.options;
    const caDir = join(dataDir, 'ca');
    for (const entry of this.entries) writeDurably(join(caDir, `${entry.label}.pem`), entry.certificatePem);
    for (const { label, der } of this.crls) writeDurably(join(caDir, `${label}.crl`), der);
    const text = transcriptText(this.transcript(fileSha256Hex));
    writeDurably(join(caDir, 'transcript.json'), text);
    const auditKey = this.onlineKey(this.file.audit.label);
    writeDurably(join(caDir, 'transcript.json.sig'), signTbs(session, auditKey, Buffer.from(text, 'utf8')));
    writeLastHead(join(dataDir, 'signer'), firstLastHead(this.installation, this.now));
    writeDurably(
      signerConfigPath(dataDir),
      signerYaml({ file: this.file, installation: this.installation, module: places.online }),
    );
    // Last, and whole or not at all: its presence says that the ceremony happened.
    writeDurably(hierarchyPath(dataDir), `${JSON.stringify(this.hierarchy(), null, 2)}\n`);
  }

  outcome(): CeremonyOutcome {
    const { dataDir } = this.options;
    return {
      installation: this.installation,
      hierarchyPath: hierarchyPath(dataDir),
      transcriptPath: join(dataDir, 'ca', 'transcript.json'),
      signerConfigPath: signerConfigPath(dataDir),
      hierarchy: this.hierarchy(),
    };
  }

  private hierarchy(): Hierarchy {
    const { operator, realm, mode } = this.file;
    return { version: 1, installation: this.installation, operator, realm, mode, entries: this.entries };
  }

  private transcript(fileSha256Hex: string): Transcript {
    const { ceremony, mode, operator, realm, people } = this.file;
    return {
      ceremony,
      mode,
      operator,
      realm,
      installation: this.installation,
      ceremonyFileSha256: fileSha256Hex,
      at: this.now.toISOString(),
      people: people.map(({ name, role, present }) => ({ name, role, present })),
      statement:
        mode === 'demo'
          ? 'DEMO: one person ran this ceremony on one machine; the root tokens and their PIN files are on it too. Not for production.'
          : 'Two people were present; the PIN of each offline token was put together from their shares and is written nowhere.',
      tokens: this.tokens,
      keys: this.keys,
      certificates: this.entries.map(({ label, certificateSha256, serialHex: serial, notAfter }) => ({
        label,
        sha256: certificateSha256,
        serial,
        notAfter,
      })),
      crls: this.crls.map(({ label, der }) => ({ label, sha256: sha256(der) })),
    };
  }

  private withNewToken(
    module: ModuleSettings,
    label: string,
    pins: TokenPins,
    use: (session: CeremonySession) => void,
  ): void {
    const store = this.deps.openStore(module);
    try {
      this.tokens.push({ label, ...store.initialiseToken({ label, ...pins }) });
      const session = store.open({ label, userPin: pins.userPin });
      use(session);
      session.close();
    } finally {
      store.close();
    }
  }

  private generate(session: CeremonySession, token: string, label: string, curve: TokenCurve): TokenKey {
    const key = session.generateKey(label, curve);
    checkKeyAttributes(key);
    this.keys.push({ label, token, curve, spkiSha256: sha256(key.spki), attributes: key.attributes });
    return key;
  }

  private certify(
    session: CeremonySession,
    commonName: string,
    profile: Parameters<typeof certify>[2]['profile'],
    key: TokenKey,
    issuer: Issuer | undefined,
    terms: { backdateSeconds: number; lifeSeconds: number; urls?: Urls; nameConstraintDns?: string },
  ): Certificate {
    const { operator } = this.file;
    return certify(session, this.deps.random, {
      profile,
      operator,
      commonName: `${commonName} ${this.installation}`,
      key,
      issuer,
      now: this.now,
      ...terms,
      urls: terms.urls ?? {},
    });
  }

  private enter(
    place: Pick<HierarchyEntry, 'label' | 'kind' | 'state' | 'issuerLabel' | 'tokenLabel' | 'answersFor'>,
    { certificate, key }: Issuer,
  ): void {
    if (isIssuerKind(place.kind)) this.issuers.set(place.label, { certificate, key });
    this.entries.push(hierarchyEntry(place, certificate, this.options.baseUrls.status));
  }

  private pins(token: string, isOnline: boolean): TokenPins {
    return tokenPins({
      file: this.file,
      token,
      isOnline,
      dataDir: this.options.dataDir,
      random: this.deps.random,
      at: this.now,
    });
  }

  private onlineKey(label: string): TokenKey {
    const key = this.onlineKeys.get(label);
    if (!key) throw new FemtoError('INTERNAL', `The ceremony has no key ${label}.`);
    return key;
  }

  private issuer(label: string): Issuer {
    const issuer = this.issuers.get(label);
    if (!issuer) throw new FemtoError('INTERNAL', `The ceremony has no CA ${label}.`);
    return issuer;
  }

  private crlUrl(label: string): string {
    return crlUrlOf(this.options.baseUrls.status, label);
  }

  private caUrl(label: string): string {
    return caUrlOf(this.options.baseUrls.status, label);
  }

  private ocspUrl(): string {
    return ocspUrlOf(this.options.baseUrls.status);
  }
}

function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}
