import { z } from 'zod';
import {
  INTERMEDIATES_MAX,
  type ListedModel,
  TOLERANCES,
  type UnitModel,
  VENDOR_CRL_BYTES_MAX,
  type VendorAnchor,
} from '../../../lifecycle/registry/index.js';
import { FemtoError } from '../../../platform/errors.js';
import { readCertificate } from '../../../x509/certificate.js';
import { readCrl } from '../../../x509/read-crl.js';
import { requestHash, spendApproval } from '../../people/approvals.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';
import { anchorBytes, vendorAnchorAct } from '../vendor-anchor-act.js';

const ANCHOR_BODY_BYTES_MAX = 262_144;
const CRL_BASE64_MAX = Math.ceil((VENDOR_CRL_BYTES_MAX * 4) / 3) + 4;

/** Makers' own CAs, and how their models are treated. */
export function vendorRoutes(deps: OperatorDeps): Route[] {
  const { vendorOffice, models } = deps;
  return [
    route({
      method: 'GET',
      path: '/vendor-anchors',
      summary: 'Makers’ own CAs that are believed for one model each, disabled ones too',
      roles: READERS,
      handler: async () => (await vendorOffice.list()).map(shownAnchor),
    }),
    route({
      method: 'POST',
      path: '/vendor-anchors',
      summary: 'Believes a maker’s CA for one model; two people. With dryRun it is only checked, by one',
      roles: OPERATORS,
      bodyBytesMax: ANCHOR_BODY_BYTES_MAX,
      body: z.strictObject({
        name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$/),
        maker: shape.name,
        model: shape.name,
        certificatePem: shape.pem.describe('root of the maker, PEM'),
        intermediatePems: z.array(shape.pem).max(INTERMEDIATES_MAX).default([]).describe('CAs below it, PEM'),
        dryRun: z.boolean().default(false),
        approval: shape.approvalId,
      }),
      handler: async ({ body, actor }) => {
        const { name, maker: makerName, model, approval } = body;
        const anchor = { name, makerName, model, ...anchorBytes(body) };
        const act = vendorAnchorAct(body);
        if (body.dryRun) {
          await vendorOffice.check(anchor);
          return { ...act.request, dryRun: true };
        }
        if (approval === undefined) {
          throw new FemtoError(
            'APPROVAL_REQUIRED',
            'An anchor needs a second person: ask with `femtopki vendor-anchor request`, then repeat with --approval.',
            { facts: { kind: act.kind, requestHash: requestHash(act).toString('hex') } },
          );
        }
        const added = await vendorOffice.add(
          { ...anchor, actor },
          async (tx) => `person:${(await spendApproval(deps, tx, act, approval)).approvedBy}`,
        );
        return shownAnchor(added);
      },
    }),
    route({
      method: 'POST',
      path: '/vendor-anchors/:name/disable',
      summary: 'Believes a maker’s CA no longer; what its units were issued here stays',
      roles: DECIDERS,
      body: z.strictObject({ reason: shape.freeText }),
      handler: async ({ params, body, actor }) =>
        shownAnchor(await vendorOffice.disable({ name: params['name'] ?? '', actor, reason: body.reason })),
    }),
    route({
      method: 'POST',
      path: '/vendor-anchors/:name/crl',
      summary: 'Registers the newest CRL of a maker’s CA; from the first on, a CRL that has run out believes nobody',
      roles: OPERATORS,
      bodyBytesMax: CRL_BASE64_MAX + 1_024,
      body: z.strictObject({ crlBase64: z.base64().max(CRL_BASE64_MAX).describe('CRL, DER') }),
      handler: async ({ params, body, actor }) =>
        shownAnchor(
          await vendorOffice.importCrl({
            name: params['name'] ?? '',
            crlDer: Buffer.from(body.crlBase64, 'base64'),
            actor,
          }),
        ),
    }),
    route({
      method: 'GET',
      path: '/models',
      summary: 'Models that somebody configured; every other one has no label and no exception',
      roles: READERS,
      handler: async () => (await models.list()).map(shownListed),
    }),
    route({
      method: 'POST',
      path: '/models',
      summary: 'Says how a maker’s model is treated: label, tolerances, MAC; what is left out stays',
      roles: OPERATORS,
      body: z.strictObject({
        maker: shape.name,
        model: shape.name,
        label: z
          .string()
          .regex(/^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/)
          .nullable()
          .optional()
          .describe('path segment of its EST and CMP addresses; null takes it away'),
        tolerate: z.array(z.enum(TOLERANCES)).max(TOLERANCES.length).default([]),
        noTolerate: z.array(z.enum(TOLERANCES)).max(TOLERANCES.length).default([]),
        allowMac: z.boolean().optional(),
      }),
      handler: async ({ body, actor }) => {
        const { maker, model, label, tolerate, noTolerate, allowMac } = body;
        const changed = await models.set({
          makerName: maker,
          model,
          ...(label === undefined ? {} : { label }),
          tolerate,
          noTolerate,
          ...(allowMac === undefined ? {} : { macAllowed: allowMac }),
          actor,
        });
        return { maker, ...shownModel(changed) };
      },
    }),
  ];
}

function shownAnchor(anchor: VendorAnchor): Record<string, unknown> {
  const { name, makerName, model, state, notAfter, intermediates, crls, createdBy, createdAt } = anchor;
  const ends = crls.flatMap((der) => readCrl(der).nextUpdate ?? []).sort((a, b) => a.getTime() - b.getTime());
  return {
    name,
    maker: makerName,
    model,
    state,
    certificateSha256: readCertificate(anchor.certificateDer).fingerprint,
    notAfter,
    intermediates: intermediates.length,
    crls: crls.length,
    // The first of its CRLs to run out stops the units below that CA.
    crlsUntil: ends[0] ?? null,
    createdBy,
    createdAt,
  };
}

function shownListed({ makerName, changedBy, changedAt, ...model }: ListedModel): Record<string, unknown> {
  return { maker: makerName, ...shownModel(model), changedBy, changedAt };
}

function shownModel({ model, label, tolerances, macAllowed }: UnitModel): Record<string, unknown> {
  return { model, label, tolerances: [...tolerances].sort(), macAllowed };
}
