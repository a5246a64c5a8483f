/**
 * A later ceremony: each root signs its next CRL, which may also revoke a CA. Roots live offline, so nothing renews these
 * CRLs by itself; one that runs out makes every strict gateway refuse every unit (rules 1.4).
 *
 * Nothing is written before every root has signed; the files then replace the old ones one by one, each whole.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { FemtoError } from '../../platform/errors.js';
import { writeDurably } from '../../platform/hsm/durable-file.js';
import { type Hierarchy, type HierarchyEntry, hierarchyPath, readHierarchy } from '../../platform/hsm/hierarchy.js';
import type { ModuleSettings } from '../../platform/hsm/token.js';
import { type Crl, type CrlReason, crlEntries, crlEntry, readCrl, verifyCrlSignature } from '../../x509/crl.js';
import { readSpki } from '../../x509/spki.js';
import type { CeremonyDeps } from './ceremony.js';
import { type CeremonyFile, checkPeople, readCeremonyFile } from './ceremony-file.js';
import { signRootCrl } from './certify.js';
import { offlinePin } from './pins.js';
import { rootInToken } from './root-key.js';
import { offlineTokenPlace } from './token-places.js';

export interface RootCrlOptions {
  /** The reviewed ceremony file: who is there, where the tokens are, how long a root CRL lives. */
  readonly file: string;
  readonly dataDir: string;
  readonly module: ModuleSettings;
  readonly mode: 'demo' | 'production';
  /** A CA that its root takes back. Final: a CRL entry of a root is never taken out again. */
  readonly revoke?: { readonly label: string; readonly reason: CrlReason };
}

export interface SignedRootCrl {
  readonly label: string;
  readonly number: string;
  readonly nextUpdate: string;
  readonly entries: number;
  readonly sha256: string;
  readonly path: string;
}

export interface RootCrlOutcome {
  readonly crls: readonly SignedRootCrl[];
  /** What was done, by whom; the CRLs' own signatures prove it. */
  readonly recordPath: string;
}

/**
 * @throws FemtoError STATE_CONFLICT where a CRL is missing, foreign, or the CA is revoked already; NOT_FOUND for a label
 *   that is no CA; APPROVAL_REQUIRED when people are missing; BAD_REQUEST for the file; TokenFault, KeyRefusal
 */
export function signRootCrls(deps: CeremonyDeps, options: RootCrlOptions): RootCrlOutcome {
  const hierarchy = readHierarchy(hierarchyPath(options.dataDir));
  const file = acceptedFile(options, hierarchy);
  const now = deps.clock.now();
  const revoked = options.revoke && caOf(hierarchy, options.revoke.label);
  const roots = hierarchy.entries.filter(({ kind }) => kind.startsWith('root-'));
  const signed = roots.map((root, index) => {
    deps.onStep({
      number: index + 1,
      of: roots.length + 1,
      text: `open the token of ${root.label}; sign its next CRL`,
    });
    const added = revoked?.issuerLabel === root.label ? { ca: revoked, reason: options.revoke?.reason } : undefined;
    return { label: root.label, der: nextCrl(deps, options, { file, root, now, added }) };
  });
  deps.onStep({ number: roots.length + 1, of: roots.length + 1, text: 'write the CRLs and the record' });
  const crls = signed.map(({ label, der }) => {
    const path = crlPath(options.dataDir, label);
    writeDurably(path, der);
    return describe(label, path, der);
  });
  return { crls, recordPath: writeRecord(options, file, crls, now) };
}

function acceptedFile(options: RootCrlOptions, hierarchy: Hierarchy): CeremonyFile {
  const { file } = readCeremonyFile(options.file);
  if (file.mode !== options.mode || file.mode !== hierarchy.mode) {
    throw new FemtoError(
      'BAD_REQUEST',
      `The ceremony file is for ${file.mode}, this hierarchy was made for ${hierarchy.mode}; use the file of its ceremony.`,
    );
  }
  checkPeople(file);
  return file;
}

function caOf(hierarchy: Hierarchy, label: string): HierarchyEntry {
  const entry = hierarchy.entries.find((one) => one.label === label && one.kind.endsWith('-ca'));
  if (entry) return entry;
  throw new FemtoError('NOT_FOUND', `${label} is no CA of this hierarchy; femtopki ca show lists them.`);
}

interface NextCrl {
  readonly file: CeremonyFile;
  readonly root: HierarchyEntry;
  readonly now: Date;
  readonly added: { readonly ca: HierarchyEntry; readonly reason: CrlReason | undefined } | undefined;
}

function nextCrl(deps: CeremonyDeps, options: RootCrlOptions, { file, root, now, added }: NextCrl): Buffer {
  const previous = previousCrl(options.dataDir, root);
  const entries = [...crlEntries(previous)];
  if (added && entries.some(({ serial }) => serial.toString('hex') === added.ca.serialHex)) {
    throw new FemtoError('STATE_CONFLICT', `${added.ca.label} is revoked already; leave --revoke out.`);
  }
  const serial = added && Buffer.from(added.ca.serialHex, 'hex');
  const store = deps.openStore(offlineTokenPlace(options.dataDir, options.module));
  try {
    const session = store.open({ label: root.tokenLabel, userPin: offlinePin(file, root.tokenLabel, options.dataDir) });
    const der = signRootCrl(session, rootInToken(session, root), {
      number: (previous.number ?? 0n) + 1n,
      // A clock that was set back must not make the new one look older than the old one.
      thisUpdate: previous.thisUpdate > now ? previous.thisUpdate : now,
      days: file.rootCrlDays,
      entries: [
        ...entries.map((entry) => entry.der),
        ...(serial ? [crlEntry({ serial, revokedAt: now, reason: added?.reason ?? 'unspecified' })] : []),
      ],
    });
    session.close();
    return der;
  } finally {
    store.close();
  }
}

/** The number goes on from the newest CRL, and what stands on it stays: without it nobody knows either. */
function previousCrl(dataDir: string, root: HierarchyEntry): Crl {
  const path = crlPath(dataDir, root.label);
  if (!existsSync(path)) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `${path} is missing; put the newest published CRL of ${root.label} there, from /crl/${root.label}.crl.`,
    );
  }
  const crl = readCrl(readFileSync(path));
  if (!verifyCrlSignature(crl, readSpki(Buffer.from(root.spkiHex, 'hex')))) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `${path} is not signed by ${root.label}; put its newest published CRL there.`,
    );
  }
  return crl;
}

function describe(label: string, path: string, der: Buffer): SignedRootCrl {
  const crl = readCrl(der);
  return {
    label,
    number: String(crl.number),
    nextUpdate: crl.nextUpdate?.toISOString() ?? '',
    entries: crl.entryCount,
    sha256: createHash('sha256').update(der).digest('hex'),
    path,
  };
}

function writeRecord(options: RootCrlOptions, file: CeremonyFile, crls: readonly SignedRootCrl[], now: Date): string {
  const path = resolve(options.dataDir, 'ca', `root-crls-${now.toISOString().replace(/[:.]/g, '-')}.json`);
  const record = {
    ceremony: file.ceremony,
    mode: file.mode,
    at: now.toISOString(),
    people: file.people.map(({ name, role, present }) => ({ name, role, present })),
    ...(options.revoke && { revoked: options.revoke }),
    crls: crls.map(({ path: _path, ...facts }) => facts),
  };
  writeDurably(path, `${JSON.stringify(record, null, 2)}\n`);
  return path;
}

function crlPath(dataDir: string, label: string): string {
  return join(resolve(dataDir), 'ca', `${label}.crl`);
}
