import { createPublicKey } from 'node:crypto';
import { z } from 'zod';
import { FemtoError } from '../../../platform/errors.js';
import type { OperatorDeps } from '../operator-deps.js';
import { OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

/** Makers, lines, cells: who and what exists. */
export function registryRoutes({ office, views }: OperatorDeps): Route[] {
  return [
    route({
      method: 'GET',
      path: '/makers',
      summary: 'Makers and their EUI prefixes',
      roles: READERS,
      handler: () => views.makers(),
    }),
    route({
      method: 'POST',
      path: '/makers',
      summary: 'Registers a maker with the public key of its manifests',
      roles: OPERATORS,
      body: z.strictObject({
        name: shape.name,
        manifestKeyPem: shape.pem.describe('SubjectPublicKeyInfo, PEM, P-256'),
        euiPrefixes: z
          .array(z.string().regex(/^[0-9A-Fa-f]{4,16}$/))
          .min(1)
          .max(64),
      }),
      handler: async ({ body, actor }) => {
        const maker = await office.registerMaker({
          name: body.name,
          manifestKeySpki: publicKeyDer(body.manifestKeyPem),
          euiPrefixes: body.euiPrefixes,
          actor,
        });
        return { name: maker.name, euiPrefixes: maker.euiPrefixes, state: maker.state };
      },
    }),
    route({
      method: 'GET',
      path: '/lines',
      summary: 'Access lines',
      roles: READERS,
      handler: () => views.lines(),
    }),
    route({
      method: 'POST',
      path: '/lines',
      summary: 'Adds an access line with the prefixes it has now',
      roles: OPERATORS,
      body: z.strictObject({
        name: shape.name,
        region: z.string().max(64).optional(),
        prefixes: z.array(prefixBody()).max(64).default([]),
      }),
      handler: ({ body, actor }) =>
        office.registerLine({
          name: body.name,
          ...(body.region === undefined ? {} : { region: body.region }),
          prefixes: body.prefixes.map(newPrefix),
          actor,
        }),
    }),
    route({
      method: 'POST',
      path: '/lines/:name/prefixes',
      summary: 'Says that a prefix belongs to a line from now on',
      roles: OPERATORS,
      body: prefixBody(),
      handler: async ({ params, body, actor }) => {
        await office.assignPrefix({ ...newPrefix(body), lineName: params['name'] ?? '', actor });
        return { line: params['name'], prefix: body.prefix };
      },
    }),
    route({
      method: 'POST',
      path: '/cells',
      summary: 'Adds a cell identity that a unit may be given at activation',
      roles: OPERATORS,
      body: z.strictObject({ id: z.string().max(64), segwAddress: z.string().max(64) }),
      handler: ({ body, actor }) => office.registerCell({ ...body, actor }),
    }),
  ];
}

function prefixBody() {
  return z.strictObject({
    prefix: z.string().max(64).describe('address/bits'),
    authoritative: z.boolean().default(true),
  });
}

function newPrefix({ prefix, authoritative }: { prefix: string; authoritative: boolean }) {
  return { prefix, authoritative };
}

/** A private key in the upload is refused before anything looks at it (KEY-6). */
function publicKeyDer(pem: string): Buffer {
  if (pem.includes('PRIVATE KEY')) {
    throw new FemtoError(
      'KEY_BLOCKED',
      'This is a private key; treat it as leaked and send the public half of a new one.',
    );
  }
  try {
    return createPublicKey(pem).export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', 'The key is no PEM public key; make one with openssl ec -pubout.', { cause });
  }
}
