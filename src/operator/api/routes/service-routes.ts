import { z } from 'zod';
import { MACHINE_KINDS } from '../../../lifecycle/registry/index.js';
import { FemtoError } from '../../../platform/errors.js';
import { certificatePem } from '../../../x509/certificate.js';
import { csrBytesFromText } from '../../../x509/csr.js';
import type { OperatorDeps } from '../operator-deps.js';
import { DECIDERS, OPERATORS, READERS, type Route, route } from '../route.js';
import * as shape from '../shapes.js';
import { withStandings } from './gateway-routes.js';

/** The installation itself: machines, renewals that are late, jobs that died, switches. */
export function serviceRoutes(deps: OperatorDeps): Route[] {
  const { views, machines, installation, feed, clock } = deps;
  return [
    route({
      method: 'GET',
      path: '/me',
      summary: 'Who am I',
      roles: ['operator', 'approver', 'auditor', 'maker-admin'],
      handler: async ({ person }) => ({ name: person.name, role: person.role, state: person.state }),
    }),
    route({
      method: 'GET',
      path: '/overview',
      summary: 'What is broken, late or open',
      roles: READERS,
      handler: async () => ({
        ...(await views.overview(clock.now())),
        gatewaysBehind: (await feed.standings()).filter(({ behind }) => behind !== null).length,
      }),
    }),
    route({
      method: 'GET',
      path: '/crls',
      summary: 'Newest CRL of each issuer',
      roles: READERS,
      handler: () => views.crls(),
    }),
    route({
      method: 'GET',
      path: '/machines',
      summary: 'Gateways, stations, servers and process keys; of gateways also how far they are with revocations',
      roles: READERS,
      query: z.strictObject({ kind: z.enum(MACHINE_KINDS).optional() }),
      handler: async ({ query }) => withStandings(await views.machines(query.kind), await feed.standings()),
    }),
    route({
      method: 'GET',
      path: '/machines/:name',
      summary: 'One machine, with its certificate when it has one',
      roles: READERS,
      handler: async ({ params }) => {
        const machine = await views.machine(params['name'] ?? '');
        if (!machine)
          throw new FemtoError('NOT_FOUND', 'No such machine; list them with femtopki gateway list or station list.');
        return { ...machine.fields, certificatePem: machine.certificateDer && certificatePem(machine.certificateDer) };
      },
    }),
    route({
      method: 'POST',
      path: '/machines',
      summary: 'Asks for a Services certificate by CSR; a second person approves the row',
      roles: OPERATORS,
      body: z.strictObject({
        kind: z.enum(MACHINE_KINDS),
        name: shape.machineName,
        csrPem: shape.pem,
        maker: shape.name.optional(),
        dnsName: z.string().max(253).optional(),
      }),
      handler: async ({ body, actor }) => {
        const { kind, name, maker, dnsName } = body;
        const csrDer = csrBytesFromText(body.csrPem);
        const machine = await machines.request({
          kind,
          name,
          csrDer,
          actor,
          ...(maker === undefined ? {} : { makerName: maker }),
          ...(dnsName === undefined ? {} : { dnsName }),
        });
        return { name: machine.name, kind: machine.kind, state: machine.state };
      },
    }),
    route({
      method: 'POST',
      path: '/machines/:name/approve',
      summary: 'Approves a machine; the rotation worker then certifies its key',
      roles: ['approver'],
      body: z.strictObject({}),
      handler: async ({ params, person, actor }) => {
        const machine = await machines.approve({ name: params['name'] ?? '', personId: person.id, actor });
        return { name: machine.name, state: machine.state };
      },
    }),
    route({
      method: 'POST',
      path: '/machines/:name/disable',
      summary: 'Ends a machine’s role at once',
      roles: DECIDERS,
      body: z.strictObject({ reason: shape.freeText }),
      handler: async ({ params, body, actor }) => {
        const machine = await machines.disable({ name: params['name'] ?? '', actor, reason: body.reason });
        return { name: machine.name, state: machine.state };
      },
    }),
    route({
      method: 'GET',
      path: '/renewals',
      summary: 'Renewals that are due, reminded, overdue or dead',
      roles: READERS,
      handler: () => views.overdue(),
    }),
    route({
      method: 'GET',
      path: '/dead-letters',
      summary: 'Jobs that failed for good',
      roles: READERS,
      handler: () => views.deadLetters(),
    }),
    route({
      method: 'POST',
      path: '/admission',
      summary: 'Freezes or thaws new activations, of the fleet or of one model; renewals go on',
      roles: DECIDERS,
      body: z.strictObject({ frozen: z.boolean(), reason: shape.freeText, model: shape.name.optional() }),
      handler: async ({ body, actor }) => {
        const { frozen, reason, model = null } = body;
        await installation.setFrozen(frozen, model, { actor, reason, at: clock.now() });
        return { frozen, model };
      },
    }),
  ];
}
