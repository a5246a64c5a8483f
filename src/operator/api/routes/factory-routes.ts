import { createPublicKey } from 'node:crypto';
import { z } from 'zod';
import type { FactoryCredential } from '../../../lifecycle/factory/index.js';
import { FemtoError } from '../../../platform/errors.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

/** Manifests and factory credentials, from the operator's side. */
export function factoryRoutes({ factory, views, registry, db }: OperatorDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/batches',
      summary: 'Batches, newest first',
      roles: READERS,
      handler: () => views.batches(),
    }),
    route({
      method: 'POST',
      path: '/batches',
      summary: 'Submits a maker-signed manifest on the maker’s behalf; dryRun reports row by row and keeps nothing',
      roles: OPERATORS,
      body: z.strictObject({ manifestJws: z.string().max(65_000), dryRun: z.boolean().default(false) }),
      handler: ({ body, actor }) => factory.submitManifest({ jws: body.manifestJws, dryRun: body.dryRun, actor }),
    }),
    route({
      method: 'POST',
      path: '/batches/:id/accept',
      summary: 'Accepts a submitted manifest: its units now exist',
      roles: OPERATORS,
      body: z.strictObject({}),
      handler: async ({ params, actor }) =>
        batchShown(await factory.acceptManifest({ batchId: Number(params['id']), actor })),
    }),
    route({
      method: 'POST',
      path: '/batches/:id/close',
      summary: 'Ends enrolment of a batch and counts what is missing',
      roles: OPERATORS,
      body: z.strictObject({}),
      handler: ({ params, actor }) => factory.closeBatch({ batchId: Number(params['id']), actor }),
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/rework',
      summary: 'Lets a unit at the factory be given another key, once',
      roles: OPERATORS,
      body: z.strictObject({ reason: shape.freeText }),
      handler: async ({ params, body, actor }) => {
        await factory.allowRework({ serialNumber: params['serialNumber'] ?? '', actor, reason: body.reason });
        return { serialNumber: params['serialNumber'], reworkAllowed: true };
      },
    }),
    route({
      method: 'POST',
      path: '/units/:serialNumber/mac-secret',
      summary: 'A secret with which a unit at the factory asks for its bootstrap certificate over CMP (shown once)',
      roles: OPERATORS,
      body: z.strictObject({
        lifeHours: z.int().min(1).max(168).default(24).describe('an earlier secret of the unit ends now'),
      }),
      handler: async ({ params, body, actor }) => {
        const unit = await registry.unitBySerialNumber(db.read, params['serialNumber'] ?? '');
        if (unit === null) {
          throw new FemtoError('NOT_FOUND', `No unit ${params['serialNumber']}; list them with femtopki unit list.`);
        }
        const made = await factory.createMacSecret({ unitId: unit.id, lifeHours: body.lifeHours, actor });
        return { ...made, unit: unit.serialNumber };
      },
    }),
    route({
      method: 'GET',
      path: '/factory-credentials',
      summary: 'Credentials of stations and tokens: scope, quota, state',
      roles: READERS,
      handler: async () => (await factory.credentials({})).map(credentialShown),
    }),
    route({
      method: 'POST',
      path: '/factory-credentials',
      summary: 'Lets a station or a token key enrol one batch from named places, for hours',
      roles: OPERATORS,
      body: z.strictObject({
        name: shape.machineName,
        maker: shape.name,
        batch: shape.name,
        site: shape.name,
        station: shape.machineName.optional(),
        tokenKeyPem: shape.pem.optional(),
        cidrs: z.array(z.string().max(64)).min(1).max(32),
        hourFrom: z.int().min(0).max(24).optional(),
        hourTo: z.int().min(0).max(24).optional(),
        quota: z.int().min(0).max(1_000_000).optional(),
        lifeHours: z.number().positive().max(168).optional(),
      }),
      handler: async ({ body, actor }) => {
        const { maker, batch, station, tokenKeyPem, ...rest } = body;
        const defined = Object.fromEntries(
          Object.entries(rest).filter(([, value]) => value !== undefined),
        ) as typeof rest;
        return credentialShown(
          await factory.createCredential({
            ...(defined as { name: string; site: string; cidrs: string[] }),
            makerName: maker,
            batchName: batch,
            ...(station === undefined ? {} : { stationName: station }),
            ...(tokenKeyPem === undefined ? {} : { tokenKeySpki: tokenKey(tokenKeyPem) }),
            actor,
          }),
        );
      },
    }),
    route({
      method: 'POST',
      path: '/factory-credentials/:name/revoke',
      summary: 'Ends a factory credential at once',
      roles: DECIDERS,
      body: z.strictObject({ reason: shape.freeText }),
      handler: async ({ params, body, actor }) =>
        credentialShown(await factory.revokeCredential({ name: params['name'] ?? '', actor, reason: body.reason })),
    }),
  ];
}

function batchShown({
  id,
  name,
  model,
  state,
  unitCount,
  submittedAt,
  acceptedAt,
  closedAt,
}: Awaited<ReturnType<OperatorDeps['factory']['acceptManifest']>>) {
  return { id, name, model, state, unitCount, submittedAt, acceptedAt, closedAt };
}

function credentialShown(credential: FactoryCredential): Record<string, unknown> {
  const { name, site, kind, cidrs, hourFrom, hourTo, quota, used, violations, state, expiresAt } = credential;
  return { name, site, kind, cidrs, hours: `${hourFrom}–${hourTo}`, quota, used, violations, state, expiresAt };
}

function tokenKey(pem: string): Buffer {
  if (pem.includes('PRIVATE KEY'))
    throw new FemtoError('KEY_BLOCKED', 'This is a private key; send the public half of a new one.');
  try {
    return createPublicKey(pem).export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', 'The token key is no PEM public key.', { cause });
  }
}
