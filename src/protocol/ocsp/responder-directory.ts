import type { Issuer } from '../../lifecycle/model/index.js';
import type { IssuerDirectory } from '../../lifecycle/registry/index.js';
import { checkOcspSigner, currentSigner, type OcspSigner, type OcspSignerStore } from '../../lifecycle/status/index.js';
import type { Clock } from '../../platform/clock.js';
import type { Transactor } from '../../platform/db/transaction.js';
import { asFemtoError } from '../../platform/errors.js';
import { readCertificate, verifyCertificateSignature } from '../../x509/certificate.js';
import { type CertId, ocspIssuerHashes } from '../../x509/ocsp.js';
import { readSpki } from '../../x509/spki.js';
import { certIdSpellings } from './cert-id-spellings.js';

/** A CA that we answer for. */
export interface AnsweringIssuer {
  readonly issuer: Issuer;
  /** Checked signers, newest first; the one to use now is {@link ResponderDirectory.signerOf}. */
  readonly signers: readonly OcspSigner[];
  /** Hex serials that it signed at a ceremony or for its responders: good, though they are not among the leaves. */
  readonly ownSerials: ReadonlySet<string>;
}

export interface ResponderDirectory {
  /** By the hashes of name and key together; a name alone proves nothing. Null: not ours. */
  issuerOf(certId: CertId): AnsweringIssuer | null;
  signerOf(issuer: AnsweringIssuer): OcspSigner | undefined;
  /** How its certificates can be asked for ({@link certIdSpellings}); undefined where the CA is not known. */
  spellingsOf(issuerId: number): readonly string[] | undefined;
  /** False until the database was read once: then nobody knows whose a certificate is. */
  isLoaded(): boolean;
  /** Reads CAs and signers again. @throws when the database is away; what was read before stays */
  refresh(): Promise<void>;
  /** For an issuer that is not known: a CA may have come into use just now. Reads at most once a second. */
  refreshForUnknown(): Promise<void>;
  /** What somebody must act on: a CA without a valid signer, or a signer that was refused. */
  troubles(): readonly string[];
  /** Earliest end of a CA's newest signer. */
  signersEndAt(): Date | undefined;
}

export interface ResponderDirectoryDeps {
  readonly issuers: Pick<IssuerDirectory, 'all' | 'refresh'>;
  readonly signers: OcspSignerStore;
  readonly transactor: Pick<Transactor, 'read'>;
  readonly clock: Clock;
  /** Certificates that a ceremony made, DER: the audit key's, first responders'. Believed by their signature alone. */
  readonly ceremonial: () => readonly Buffer[];
}

/** Roots sign their CRL at a ceremony and have no responder; a retired CA is answered for until its last certificate. */
const ANSWERED_KINDS: ReadonlySet<string> = new Set(['device-ca', 'bootstrap-ca', 'services-ca']);

/** Foreign CertIDs are free to send; they must not become a database query each. */
const UNKNOWN_REFRESH_MS = 1_000;

export function makeResponderDirectory(deps: ResponderDirectoryDeps): ResponderDirectory {
  let byHashes = new Map<string, AnsweringIssuer>();
  let spellings = new Map<number, readonly string[]>();
  let troubles: string[] = [];
  let loadedAtMs: number | undefined;
  let loading: Promise<void> | undefined;
  const refresh = (): Promise<void> => {
    loading ??= load(deps)
      .then((loaded) => {
        byHashes = loaded.byHashes;
        spellings = loaded.spellings;
        troubles = loaded.troubles;
        loadedAtMs = deps.clock.now().getTime();
      })
      .finally(() => {
        loading = undefined;
      });
    return loading;
  };
  return {
    isLoaded: () => loadedAtMs !== undefined,
    issuerOf: (certId) => byHashes.get(keyOf(certId.issuerNameHash, certId.issuerKeyHash)) ?? null,
    signerOf: ({ signers }) => currentSigner(signers, deps.clock.now()),
    spellingsOf: (issuerId) => spellings.get(issuerId),
    refresh,
    refreshForUnknown: async () => {
      const ageMs = loadedAtMs === undefined ? undefined : deps.clock.now().getTime() - loadedAtMs;
      if (ageMs === undefined || Math.abs(ageMs) > UNKNOWN_REFRESH_MS) await refresh();
    },
    troubles: () => troubles,
    signersEndAt: () => {
      const ends = [...byHashes.values()].flatMap(({ signers }) => signers[0]?.notAfter ?? []);
      return ends.sort((a, b) => a.getTime() - b.getTime())[0];
    },
  };
}

async function load(deps: ResponderDirectoryDeps): Promise<{
  byHashes: Map<string, AnsweringIssuer>;
  spellings: Map<number, readonly string[]>;
  troubles: string[];
}> {
  await deps.issuers.refresh();
  const rows = await deps.signers.ocspSigners(deps.transactor.read, deps.clock.now());
  const byHashes = new Map<string, AnsweringIssuer>();
  const spellings = new Map<number, readonly string[]>();
  const troubles: string[] = [];
  const ceremonial = deps.ceremonial().map(readCertificate);
  for (const issuer of await deps.issuers.all()) {
    if (!ANSWERED_KINDS.has(issuer.kind)) continue;
    const signers: OcspSigner[] = [];
    for (const row of rows.filter(({ issuerId }) => issuerId === issuer.id)) {
      try {
        signers.push(checkOcspSigner(row, issuer));
      } catch (thrown) {
        troubles.push(asFemtoError(thrown).message);
      }
    }
    if (signers.length === 0) troubles.push(`${issuer.label} has no valid OCSP signer: its answers are tryLater.`);
    const spki = readSpki(issuer.spkiDer);
    const hashes = ocspIssuerHashes(issuer.subjectDer, spki);
    const own = ceremonial.filter(
      (each) => each.issuerDer.equals(issuer.subjectDer) && verifyCertificateSignature(each, spki),
    );
    spellings.set(issuer.id, certIdSpellings(hashes));
    const ownSerials = new Set([...own, ...signers].map(({ serial }) => serial.toString('hex')));
    for (const { nameHash, keyHash } of [hashes.sha1, hashes.sha256]) {
      byHashes.set(keyOf(nameHash, keyHash), { issuer, signers, ownSerials });
    }
  }
  return { byHashes, spellings, troubles };
}

function keyOf(nameHash: Buffer, keyHash: Buffer): string {
  return nameHash.toString('latin1') + keyHash.toString('latin1');
}
