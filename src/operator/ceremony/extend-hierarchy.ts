/**
 * A later ceremony: new spare Device CAs, and where the reviewed file says so a new Access Root that the old one signs
 * (RFC 4210 section 4.4), so that whoever trusts the old one comes to the new one. The installation goes on meanwhile: what
 * is made here is a spare until two people take it into use.
 *
 * Nothing is written before everything is signed. hierarchy.json comes before signer.yaml: a CA that the signer does not
 * know yet harms nobody, a key that the hierarchy does not know stops the signer. A ceremony that was cut off between the
 * two is held again with the same file, and only finishes.
 */
import { createHash } from 'node:crypto';
import { join, resolve } from 'node:path';
import { FemtoError } from '../../platform/errors.js';
import { checkKeyAttributes } from '../../platform/hsm/check-key-attributes.js';
import { writeDurably } from '../../platform/hsm/durable-file.js';
import {
  type Hierarchy,
  type HierarchyEntry,
  hierarchyPath,
  type RootLink,
  readHierarchy,
} from '../../platform/hsm/hierarchy.js';
import { readPinFile } from '../../platform/hsm/pin-file.js';
import { readSignerConfig, type SignerConfig, signerConfigPath } from '../../platform/hsm/signer-config.js';
import type { CeremonySession, ModuleSettings, TokenCurve, TokenKey } from '../../platform/hsm/token.js';
import { type Certificate, certificatePem } from '../../x509/certificate.js';
import type { CeremonyDeps } from './ceremony.js';
import { type CertifyRequest, certify, signRootCrl, signTbs } from './certify.js';
import { type ExtensionFile, labelsOf, readExtensionFile } from './extension-file.js';
import {
  BACKDATE,
  caUrlOf,
  crlUrlOf,
  DAY_SECONDS,
  type EntryPlace,
  hierarchyEntry,
  yearsSeconds,
} from './hierarchy-entry.js';
import { offlinePin, tokenPins } from './pins.js';
import { certificateOf, rootInToken } from './root-key.js';
import { widenSignerFile } from './signer-file.js';
import { offlineTokenPlace } from './token-places.js';

export interface ExtensionOptions {
  /** Path of the reviewed file, e.g. hsm-config/ceremony/next-access-root.yaml. */
  readonly file: string;
  readonly dataDir: string;
  readonly module: ModuleSettings;
  /** Public address of the status server without trailing slash. */
  readonly statusUrl: string;
}

export interface ExtensionOutcome {
  /** Entries that this ceremony made; none where an earlier one was only finished. */
  readonly made: readonly HierarchyEntry[];
  readonly recordPath: string | null;
}

/** @throws FemtoError BAD_REQUEST, STATE_CONFLICT, APPROVAL_REQUIRED; TokenFault and KeyRefusal from the tokens */
export function extendHierarchy(deps: CeremonyDeps, options: ExtensionOptions): ExtensionOutcome {
  const hierarchy = readHierarchy(hierarchyPath(options.dataDir));
  const { file, sha256Hex } = readExtensionFile(options.file, hierarchy);
  const known = labelsOf(file).filter((label) => hierarchy.entries.some((entry) => entry.label === label));
  const signer = signerConfigPath(options.dataDir);
  if (known.length === labelsOf(file).length) {
    deps.onStep({ number: 1, of: 1, text: 'this ceremony was held; write what is missing of the signer’s file' });
    widenSignerFile(signer, file.cas);
    return { made: [], recordPath: null };
  }
  if (known.length > 0) {
    throw new FemtoError('STATE_CONFLICT', `${known.join(', ')} are in the hierarchy already; a CA is never replaced.`);
  }
  const config = readSignerConfig(signer);
  const extension = new Extension(deps, options, { file, hierarchy, config, now: deps.clock.now() });
  const step = stepper(deps);
  step('generate the keys of the new CAs and their OCSP signers in the online token');
  extension.generateOnlineKeys();
  step(file.root ? `generate ${file.root.label} in a token of its own; sign its CRL and its CAs` : 'no new root');
  extension.makeNewRoot();
  step('open the roots that there are; sign the new root, and CAs that are theirs');
  extension.signWithOldRoots();
  step('certify the OCSP signers; sign the record');
  const record = extension.certifyOnline(sha256Hex);
  step('write the certificates, the hierarchy, and last the signer’s file');
  return extension.write(record);
}

const STEPS = 5;

function stepper({ onStep }: CeremonyDeps): (text: string) => void {
  let number = 0;
  return (text) => {
    number += 1;
    onStep({ number, of: STEPS, text });
  };
}

interface Issuer {
  readonly certificate: Certificate;
  readonly key: TokenKey;
}

interface Ground {
  readonly file: ExtensionFile;
  readonly hierarchy: Hierarchy;
  readonly config: SignerConfig;
  readonly now: Date;
}

class Extension {
  private readonly keys = new Map<string, TokenKey>();
  private readonly signed = new Map<string, Certificate>();
  private readonly entries: HierarchyEntry[] = [];
  private newRoot: (Issuer & { readonly oldWithNew: Certificate; readonly crlDer: Buffer }) | undefined;
  private link: RootLink | undefined;

  constructor(
    private readonly deps: CeremonyDeps,
    private readonly options: ExtensionOptions,
    private readonly ground: Ground,
  ) {}

  generateOnlineKeys(): void {
    this.inOnlineToken((session) => {
      for (const { label, ocspKey } of this.ground.file.cas) {
        this.generate(session, label, 'P-256');
        this.generate(session, ocspKey, 'P-256');
      }
    });
  }

  makeNewRoot(): void {
    const { file, hierarchy, now } = this.ground;
    const { root } = file;
    if (root === undefined) return;
    const pins = tokenPins({
      file,
      token: root.token,
      isOnline: false,
      dataDir: this.options.dataDir,
      random: this.deps.random,
      at: now,
    });
    const store = this.deps.openStore(offlineTokenPlace(this.options.dataDir, this.options.module));
    try {
      store.initialiseToken({ label: root.token, ...pins });
      const session = store.open({ label: root.token, userPin: pins.userPin });
      const key = this.generate(session, root.label, 'P-384');
      const lifeSeconds = yearsSeconds(file.rootYears, now);
      const commonName = `${root.commonName} ${hierarchy.installation}`;
      const certificate = this.certify(session, { profile: 'root', commonName, key, issuer: undefined, lifeSeconds });
      const issuer = { certificate, key };
      const place = {
        label: root.label,
        kind: 'root-access',
        issuerLabel: root.label,
        tokenLabel: root.token,
      } as const;
      this.enter({ ...place, state: 'offline' }, certificate);
      const old = certificateOf(this.entryOf(root.succeeds));
      const oldWithNew = this.linkOf(session, { of: old, label: root.succeeds }, issuer, root.label);
      this.signCas(session, root.label, issuer);
      const first = { number: 1n, thisUpdate: now, days: file.rootCrlDays, entries: [] };
      this.newRoot = { ...issuer, oldWithNew, crlDer: signRootCrl(session, issuer, first) };
      session.close();
    } finally {
      store.close();
    }
  }

  signWithOldRoots(): void {
    const { file, hierarchy } = this.ground;
    const needed = hierarchy.entries.filter(
      ({ label }) => label === file.root?.succeeds || file.cas.some((ca) => ca.root === label),
    );
    for (const root of needed) {
      const store = this.deps.openStore(offlineTokenPlace(this.options.dataDir, this.options.module));
      try {
        const userPin = offlinePin(file, root.tokenLabel, this.options.dataDir);
        const session = store.open({ label: root.tokenLabel, userPin });
        const issuer = rootInToken(session, root);
        if (this.newRoot && file.root?.succeeds === root.label) {
          const { certificate, oldWithNew } = this.newRoot;
          const newWithOld = this.linkOf(session, { of: certificate, label: file.root.label }, issuer, root.label);
          this.link = {
            predecessor: root.label,
            successor: file.root.label,
            newWithOldPem: certificatePem(newWithOld.der),
            oldWithNewPem: certificatePem(oldWithNew.der),
          };
        }
        this.signCas(session, root.label, issuer);
        session.close();
      } finally {
        store.close();
      }
    }
  }

  /** @returns the record and the audit key's signature over it */
  certifyOnline(fileSha256: string): { text: string; signature: Buffer } {
    const { file, hierarchy, config } = this.ground;
    return this.inOnlineToken((session) => {
      for (const ca of file.cas) {
        const issuer = { certificate: this.signedOf(ca.label), key: session.key(ca.label) };
        const certificate = this.certify(session, {
          profile: 'ocsp-signer',
          commonName: `${ca.commonName} OCSP ${hierarchy.installation}`,
          key: session.key(ca.ocspKey),
          issuer,
          lifeSeconds: file.ocspSignerDays * DAY_SECONDS,
        });
        const place = { label: ca.ocspKey, kind: 'ocsp-signer', state: 'spare', issuerLabel: ca.label } as const;
        this.enter({ ...place, tokenLabel: config.tokenLabel, answersFor: ca.label }, certificate);
      }
      const text = `${JSON.stringify(this.record(fileSha256), null, 2)}\n`;
      const audit = hierarchy.entries.find(({ kind }) => kind === 'audit');
      if (!audit) throw new FemtoError('INTERNAL', 'The hierarchy has no audit key; restore the file.');
      return { text, signature: signTbs(session, session.key(audit.keyLabel), Buffer.from(text, 'utf8')) };
    });
  }

  write({ text, signature }: { text: string; signature: Buffer }): ExtensionOutcome {
    const { file, hierarchy, now } = this.ground;
    const caDir = resolve(this.options.dataDir, 'ca');
    for (const entry of this.entries) writeDurably(join(caDir, `${entry.label}.pem`), entry.certificatePem);
    if (file.root && this.newRoot) writeDurably(join(caDir, `${file.root.label}.crl`), this.newRoot.crlDer);
    if (this.link) {
      const { predecessor, successor, newWithOldPem, oldWithNewPem } = this.link;
      writeDurably(join(caDir, `${successor}.by-${predecessor}.pem`), newWithOldPem);
      writeDurably(join(caDir, `${predecessor}.by-${successor}.pem`), oldWithNewPem);
    }
    const recordPath = join(caDir, `extension-${now.toISOString().replace(/[:.]/g, '-')}.json`);
    writeDurably(recordPath, text);
    writeDurably(`${recordPath}.sig`, signature);
    const links = [...(hierarchy.links ?? []), ...(this.link ? [this.link] : [])];
    const next: Hierarchy = {
      ...hierarchy,
      entries: [...hierarchy.entries, ...this.entries],
      ...(links.length > 0 ? { links } : {}),
    };
    writeDurably(hierarchyPath(this.options.dataDir), `${JSON.stringify(next, null, 2)}\n`);
    widenSignerFile(signerConfigPath(this.options.dataDir), file.cas);
    return { made: this.entries, recordPath };
  }

  private signCas(session: CeremonySession, rootLabel: string, issuer: Issuer): void {
    const { file, hierarchy, config, now } = this.ground;
    for (const ca of file.cas.filter(({ root }) => root === rootLabel)) {
      const certificate = this.certify(session, {
        profile: 'device-ca',
        commonName: `${ca.commonName} ${hierarchy.installation}`,
        key: this.keyOf(ca.label),
        issuer,
        lifeSeconds: yearsSeconds(file.caYears, now),
        nameConstraintDns: hierarchy.realm,
        urls: this.urlsOf(rootLabel),
      });
      this.signed.set(ca.label, certificate);
      const place = { label: ca.label, kind: 'device-ca', state: 'spare', issuerLabel: rootLabel } as const;
      this.enter({ ...place, tokenLabel: config.tokenLabel }, certificate);
    }
  }

  /** Another root's name and key under this one's signature, no longer than either lives. */
  private linkOf(
    session: CeremonySession,
    { of, label }: { of: Certificate; label: string },
    issuer: Issuer,
    issuerLabel: string,
  ): Certificate {
    const endMs = Math.min(of.notAfter.getTime(), issuer.certificate.notAfter.getTime());
    const link = this.certify(session, {
      profile: 'root-link',
      commonName: of.commonName ?? '',
      key: { label, curve: 'P-384', spki: of.spki.spkiDer, attributes: issuer.key.attributes },
      issuer,
      lifeSeconds: Math.floor((endMs - this.ground.now.getTime()) / 1_000),
      urls: this.urlsOf(issuerLabel),
    });
    if (link.subjectDer.equals(of.subjectDer)) return link;
    throw new FemtoError('INTERNAL', `The link for ${label} carries another name than its root; report this.`);
  }

  private certify(
    session: CeremonySession,
    request: Omit<CertifyRequest, 'operator' | 'now' | 'backdateSeconds' | 'urls'> &
      Partial<Pick<CertifyRequest, 'urls'>>,
  ): Certificate {
    return certify(session, this.deps.random, {
      urls: {},
      ...request,
      operator: this.ground.hierarchy.operator,
      now: this.ground.now,
      backdateSeconds: BACKDATE_OF[request.profile] ?? BACKDATE.leaf,
    });
  }

  private generate(session: CeremonySession, label: string, curve: TokenCurve): TokenKey {
    const key = session.generateKey(label, curve);
    checkKeyAttributes(key);
    this.keys.set(label, key);
    return key;
  }

  private inOnlineToken<T>(use: (session: CeremonySession) => T): T {
    const { config } = this.ground;
    const store = this.deps.openStore(config.module);
    try {
      const session = store.open({ label: config.tokenLabel, userPin: readPinFile(config.pinFile) });
      const result = use(session);
      session.close();
      return result;
    } finally {
      store.close();
    }
  }

  private enter(place: EntryPlace, certificate: Certificate): void {
    this.entries.push(hierarchyEntry(place, certificate, this.options.statusUrl));
  }

  private record(fileSha256: string): object {
    const { file, hierarchy, now } = this.ground;
    return {
      ceremony: file.ceremony,
      mode: file.mode,
      installation: hierarchy.installation,
      ceremonyFileSha256: fileSha256,
      at: now.toISOString(),
      people: file.people.map(({ name, role, present }) => ({ name, role, present })),
      keys: [...this.keys.values()].map(({ label, curve, spki, attributes }) => ({
        label,
        curve,
        spkiSha256: createHash('sha256').update(spki).digest('hex'),
        attributes,
      })),
      certificates: this.entries.map(({ label, issuerLabel, certificateSha256, serialHex, notAfter }) => ({
        label,
        issuer: issuerLabel,
        sha256: certificateSha256,
        serial: serialHex,
        notAfter,
      })),
      link: this.link ?? null,
    };
  }

  private urlsOf(rootLabel: string) {
    const { statusUrl } = this.options;
    return { crlUrl: crlUrlOf(statusUrl, rootLabel), caUrl: caUrlOf(statusUrl, rootLabel) };
  }

  private entryOf(label: string): HierarchyEntry {
    const entry = this.ground.hierarchy.entries.find((one) => one.label === label);
    if (!entry) throw new FemtoError('INTERNAL', `The hierarchy has no ${label}.`);
    return entry;
  }

  private keyOf(label: string): TokenKey {
    const key = this.keys.get(label);
    if (!key) throw new FemtoError('INTERNAL', `The ceremony has no key ${label}.`);
    return key;
  }

  private signedOf(label: string): Certificate {
    const certificate = this.signed.get(label);
    if (!certificate) throw new FemtoError('INTERNAL', `No root signed ${label}.`);
    return certificate;
  }
}

const BACKDATE_OF: Readonly<Partial<Record<CertifyRequest['profile'], number>>> = {
  root: BACKDATE.root,
  'root-link': BACKDATE.ca,
  'device-ca': BACKDATE.ca,
};
