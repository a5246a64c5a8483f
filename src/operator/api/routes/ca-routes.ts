import { z } from 'zod';
import type { CaStanding } from '../../../lifecycle/registry/index.js';
import { FemtoError } from '../../../platform/errors.js';
import { spendApproval } from '../../people/approvals.js';
import { caAct } from '../../people/ca-act.js';
import type { OperatorDeps } from '../operator-deps.js';
import { OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';

const label = z.string().regex(/^[a-z0-9][a-z0-9-]{0,40}$/);

/** Our own CAs: taken into use and out of it by two people, after the gateways know them. */
export function caRoutes(deps: OperatorDeps): Route[] {
  const { caOffice } = deps;
  const named = async (wanted: string | undefined): Promise<CaStanding> => {
    const ca = (await caOffice.list()).find((one) => one.label === wanted);
    if (ca !== undefined) return ca;
    throw new FemtoError('NOT_FOUND', 'There is no such CA; femtopki ca list shows them.');
  };
  const spending =
    (verb: 'activate' | 'retire', ca: CaStanding, { reason, approval }: z.infer<typeof changeBody>) =>
    async (tx: Parameters<typeof spendApproval>[1]) =>
      `person:${(await spendApproval(deps, tx, caAct(verb, { ...ca, reason }), approval)).approvedBy}`;
  return [
    route({
      method: 'GET',
      path: '/cas',
      summary:
        'Our CAs and roots: state, ends, when the last certificate of a closing one ends, who has yet to know it',
      roles: READERS,
      handler: async () => (await caOffice.list()).map(shown),
    }),
    route({
      method: 'POST',
      path: '/cas/:label/activate',
      summary: 'Takes a spare CA into use, once every gateway has acknowledged it; two people',
      roles: OPERATORS,
      body: changeBody,
      handler: async ({ params, body, actor }) => {
        const ca = await named(params['label']);
        return shown(await caOffice.activate({ label: ca.label, actor }, spending('activate', ca, body)));
      },
    }),
    route({
      method: 'POST',
      path: '/cas/:label/retire',
      summary: 'Ends a CA’s issuing for good; its certificates, CRL and OCSP go on to the last one’s end; two people',
      roles: OPERATORS,
      body: changeBody,
      handler: async ({ params, body, actor }) => {
        const ca = await named(params['label']);
        const act = { label: ca.label, reason: body.reason, actor };
        return shown(await caOffice.retire(act, spending('retire', ca, body)));
      },
    }),
    route({
      method: 'POST',
      path: '/gateways/:name/anchors',
      summary: 'Says for a gateway that cannot say so itself that it was given a Device CA or an Access Root',
      roles: OPERATORS,
      body: z.strictObject({ label, certificateSha256: shape.sha256Hex }),
      handler: async ({ params, body, actor }) => {
        const gateway = params['name'] ?? '';
        const { certificateSha256 } = await named(body.label);
        if (certificateSha256 !== body.certificateSha256) {
          throw new FemtoError('BAD_REQUEST', `That is not the certificate of ${body.label}; compare the hashes.`);
        }
        return { gateway, ...(await caOffice.acknowledge({ gateway, certificateSha256, actor })) };
      },
    }),
  ];
}

const changeBody = z.strictObject({ reason: shape.freeText, approval: shape.approvalId });

function shown({ parentLabel, unacknowledgedBy, ...ca }: CaStanding): Record<string, unknown> {
  return { ...ca, issuer: parentLabel, unacknowledgedBy };
}
