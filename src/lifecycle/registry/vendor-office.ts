import type { ChainJudge } from '../../platform/chain-judge.js';
import type { Clock } from '../../platform/clock.js';
import type { Transaction, Transactor } from '../../platform/db/transaction.js';
import { FemtoError } from '../../platform/errors.js';
import type { Ledger } from '../../platform/ledger/ledger.js';
import type { Actor } from '../model/index.js';
import { type CheckedAnchor, checkVendorAnchor } from './check-vendor-anchor.js';
import { replaceCrl } from './check-vendor-crl.js';
import type { IssuerDirectory } from './issuer-directory.js';
import type { Maker, MakerStore } from './maker-store.js';
import { checkName, IDENTIFIER, MODEL_NAME } from './names.js';
import type { NewVendorAnchor, VendorAnchor } from './vendor-anchor.js';
import type { VendorAnchorStore } from './vendor-anchor-store.js';

export interface VendorOfficeDeps {
  readonly transactor: Transactor;
  readonly makers: MakerStore;
  readonly anchors: VendorAnchorStore;
  readonly issuers: Pick<IssuerDirectory, 'all' | 'refresh'>;
  readonly judge: ChainJudge;
  readonly ledger: Ledger;
  readonly clock: Clock;
}

/** Makers' own CAs, as people enter them. Every change is one transaction with its ledger entry. */
export interface VendorOffice {
  /**
   * Everything that {@link add} checks, changing nothing.
   *
   * @throws FemtoError NOT_FOUND (maker), STATE_CONFLICT (name or key there already), and what checkVendorAnchor throws;
   *   BAD_REQUEST also where OpenSSL's strict reading refuses the root or a CA below it
   */
  check(anchor: Omit<NewVendorAnchor, 'actor'>): Promise<void>;
  /**
   * Believes a maker's CA from now on, for one model. A disabled anchor with the same key comes back as given now, without
   * its CRLs.
   *
   * @param approve  spends the second person's approval in the same transaction; gives that person
   * @throws FemtoError as {@link check}, and what `approve` throws
   */
  add(anchor: NewVendorAnchor, approve: (tx: Transaction) => Promise<Actor>): Promise<VendorAnchor>;
  list(): Promise<VendorAnchor[]>;
  /** Ends it at once for new exchanges. Disabling twice changes nothing. @throws FemtoError NOT_FOUND */
  disable(request: { name: string; actor: Actor; reason: string }): Promise<VendorAnchor>;
  /** Registers the newest CRL of the anchor or of a CA registered with it; see replaceCrl. @throws FemtoError NOT_FOUND */
  importCrl(request: { name: string; crlDer: Buffer; actor: Actor }): Promise<VendorAnchor>;
}

export function makeVendorOffice(deps: VendorOfficeDeps): VendorOffice {
  return {
    check: async (anchor) => {
      const checked = await checkGiven(deps, anchor);
      await requireFree(deps, deps.transactor.read, anchor, checked);
    },
    add: (anchor, approve) => addAnchor(deps, anchor, approve),
    list: () => deps.anchors.anchors(deps.transactor.read),
    disable: (request) => disableAnchor(deps, request),
    importCrl: (request) => importCrl(deps, request),
  };
}

async function addAnchor(
  deps: VendorOfficeDeps,
  anchor: NewVendorAnchor,
  approve: (tx: Transaction) => Promise<Actor>,
): Promise<VendorAnchor> {
  const checked = await checkGiven(deps, anchor);
  const { name, model, actor } = anchor;
  const { root, intermediates } = checked;
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const maker = await requireFree(deps, tx, anchor, checked);
    const approvedBy = await approve(tx);
    const row = {
      makerId: maker.id,
      model,
      name,
      certificateDer: root.der,
      subjectDer: root.subjectDer,
      spkiHash: root.spki.spkiHash,
      notAfter: root.notAfter,
      intermediates: intermediates.map(({ der }) => der),
      createdBy: actor,
      createdAt: at,
    };
    const added = await deps.anchors.addAnchor(tx, row);
    if (added === null) throw taken();
    await deps.ledger.append(tx, [
      {
        kind: 'vendor-anchor.added',
        subject: `vendor-anchor:${name}`,
        at,
        body: {
          makerId: maker.id,
          model,
          certificateSha256: root.fingerprint,
          spkiHash: root.spki.spkiHash.toString('hex'),
          notAfter: root.notAfter.toISOString(),
          intermediateSha256: intermediates.map(({ fingerprint }) => fingerprint),
          actor,
          approvedBy,
        },
      },
    ]);
    return { ...row, id: added.id, makerName: maker.name, crls: [], crlsAt: null, state: 'active' };
  });
}

async function disableAnchor(
  deps: VendorOfficeDeps,
  { name, actor, reason }: { name: string; actor: Actor; reason: string },
): Promise<VendorAnchor> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const anchor = await requireAnchor(deps, tx, name);
    if (anchor.state === 'disabled') return anchor;
    await deps.anchors.disableAnchor(tx, anchor.id);
    await deps.ledger.append(tx, [
      {
        kind: 'vendor-anchor.disabled',
        subject: `vendor-anchor:${name}`,
        at,
        body: { makerId: anchor.makerId, model: anchor.model, actor, reason: reason.slice(0, 500) },
      },
    ]);
    return { ...anchor, state: 'disabled' };
  });
}

async function importCrl(
  deps: VendorOfficeDeps,
  { name, crlDer, actor }: { name: string; crlDer: Buffer; actor: Actor },
): Promise<VendorAnchor> {
  const at = deps.clock.now();
  return deps.transactor.run(async (tx) => {
    const anchor = await requireAnchor(deps, tx, name);
    const { crl, issuer, crls } = replaceCrl(anchor, crlDer, at);
    await deps.anchors.writeCrls(tx, anchor.id, crls, at);
    await deps.ledger.append(tx, [
      {
        kind: 'vendor-anchor.crl-imported',
        subject: `vendor-anchor:${name}`,
        at,
        body: {
          issuerSha256: issuer.fingerprint,
          number: crl.number?.toString() ?? null,
          thisUpdate: crl.thisUpdate.toISOString(),
          nextUpdate: crl.nextUpdate?.toISOString() ?? null,
          entryCount: crl.entryCount,
          actor,
        },
      },
    ]);
    return { ...anchor, crls, crlsAt: at };
  });
}

/** Names, our own rules, and what the judge would say of each CA when a unit's chain leads through it. */
async function checkGiven(
  deps: VendorOfficeDeps,
  given: Pick<NewVendorAnchor, 'name' | 'model' | 'certificateDer' | 'intermediates'>,
): Promise<CheckedAnchor> {
  checkName(given.name, 'anchor name', IDENTIFIER);
  checkName(given.model, 'model', MODEL_NAME);
  const at = deps.clock.now();
  // A CA of the latest ceremony counts as ours from now on, not from the next time the cache is read.
  await deps.issuers.refresh();
  const checked = checkVendorAnchor(given, await deps.issuers.all(), at);
  const untrusted = checked.intermediates.map(({ der }) => der);
  for (const [index, leafDer] of [checked.root.der, ...untrusted].entries()) {
    const what = index === 0 ? 'anchor' : `intermediate ${index}`;
    const question = { leafDer, rootDer: checked.root.der, untrusted, crls: [], revocation: 'none', at } as const;
    const verdict = await deps.judge.judge(question);
    if (verdict.isTrusted) continue;
    throw new FemtoError(
      'BAD_REQUEST',
      `No unit could lead to this anchor: OpenSSL refuses the ${what} (${verdict.text}).`,
      {
        facts: { fault: verdict.fault, judge: verdict.text },
      },
    );
  }
  return checked;
}

async function requireFree(
  deps: VendorOfficeDeps,
  tx: Transaction,
  { name, makerName, model }: Pick<NewVendorAnchor, 'name' | 'makerName' | 'model'>,
  { root }: CheckedAnchor,
): Promise<Maker> {
  const maker = await deps.makers.maker(tx, { name: makerName });
  if (maker === null) throw new FemtoError('NOT_FOUND', 'There is no such maker; list the makers first.');
  const active = await deps.anchors.activeAnchors(tx, { makerId: maker.id, model });
  if (active.some(({ spkiHash }) => spkiHash.equals(root.spki.spkiHash))) throw taken();
  const named = await deps.anchors.anchor(tx, name);
  const isComeback =
    named?.state === 'disabled' &&
    named.makerId === maker.id &&
    named.model === model &&
    named.spkiHash.equals(root.spki.spkiHash);
  if (named !== null && !isComeback) throw taken();
  return maker;
}

async function requireAnchor({ anchors }: VendorOfficeDeps, tx: Transaction, name: string): Promise<VendorAnchor> {
  const anchor = await anchors.anchor(tx, name, 'update');
  if (anchor === null) throw new FemtoError('NOT_FOUND', 'There is no such anchor; list the anchors first.');
  return anchor;
}

function taken(): FemtoError {
  return new FemtoError(
    'STATE_CONFLICT',
    'This model has an anchor with this key already, or another anchor has the name.',
  );
}
