import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import express, { type Express, type NextFunction, type Request, type Response } from 'express';
import { z } from 'zod';
import { refuseSubscriberNumbers } from '../../lifecycle/registry/index.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { checkShape, readJsonBody } from '../../protocol/rest/body.js';
import { problemOf, sendProblem, traceIdOf } from '../../protocol/rest/problem.js';
import type { Person } from '../people/person.js';
import { openApiDocument } from './openapi.js';
import type { OperatorDeps } from './operator-deps.js';
import type { Route } from './route.js';
import { alarmRoutes } from './routes/alarm-routes.js';
import { caRoutes } from './routes/ca-routes.js';
import { campaignRoutes } from './routes/campaign-routes.js';
import { caseRoutes } from './routes/case-routes.js';
import { factoryRoutes } from './routes/factory-routes.js';
import { fleetRoutes } from './routes/fleet-routes.js';
import { gatewayRoutes } from './routes/gateway-routes.js';
import { keyRoutes } from './routes/key-routes.js';
import { networkRoutes } from './routes/network-routes.js';
import { registryRoutes } from './routes/registry-routes.js';
import { serviceRoutes } from './routes/service-routes.js';
import { trustRoutes } from './routes/trust-routes.js';
import { unitRoutes } from './routes/unit-routes.js';
import { vendorRoutes } from './routes/vendor-routes.js';

export interface OperatorServerOptions {
  /** Host headers that are answered; anything else is a page in a browser that was sent here (DNS rebinding). */
  readonly hosts: readonly string[];
  readonly onInternal: (error: unknown, traceId: string) => void;
}

export function operatorRoutes(deps: OperatorDeps): Route[] {
  return [
    ...serviceRoutes(deps),
    ...registryRoutes(deps),
    ...factoryRoutes(deps),
    ...vendorRoutes(deps),
    ...gatewayRoutes(deps),
    ...caRoutes(deps),
    ...networkRoutes(deps),
    ...alarmRoutes(deps),
    ...unitRoutes(deps),
    ...fleetRoutes(deps),
    ...campaignRoutes(deps),
    ...keyRoutes(deps),
    ...trustRoutes(deps),
    ...caseRoutes(deps),
  ];
}

/** The operator API: every route of the table under `/api/v1`, sign-in by link, and the OpenAPI document. */
export function operatorServer(deps: OperatorDeps, options: OperatorServerOptions): Express {
  const app = express();
  app.disable('x-powered-by').disable('etag');
  app.set('query parser', 'simple');
  app.use(secureHeaders, checkHost(options.hosts));
  const routes = operatorRoutes(deps);
  app.get('/docs/openapi.json', (_request, response) => {
    response.json(openApiDocument(routes));
  });
  app.get('/docs/errors', (_request, response) => {
    response.type('text/markdown').send(ERRORS_PAGE);
  });
  app.post('/api/v1/sign-in', (request, response, next) => {
    signIn(deps, request).then((body) => response.json(body), next);
  });
  for (const route of routes) mount(app, deps, route);
  app.use((_request: Request, _response: Response, next: NextFunction) => {
    next(new FemtoError('NOT_FOUND', 'No such endpoint; the list is at /docs/openapi.json.'));
  });
  app.use((thrown: unknown, request: Request, response: Response, _next: NextFunction) => {
    const traceId = traceIdOf(request);
    const error = asFemtoError(thrown);
    if (error.code === 'INTERNAL') options.onInternal(thrown, traceId);
    sendProblem(response, problemOf(error, 'operator', traceId));
  });
  return app;
}

/** What the `type` of a problem points to. */
const ERRORS_PAGE = readFileSync(new URL('../../../docs/errors.md', import.meta.url), 'utf8');

function mount(app: Express, deps: OperatorDeps, route: Route): void {
  const handle = async (request: Request): Promise<unknown> => {
    const person = await authenticate(deps, request);
    // The role first: what a body would do must not be probed by those who may not send it.
    if (!route.roles.includes(person.role)) {
      throw new FemtoError('DENIED', `The role ${person.role} may not do this; it needs ${route.roles.join(' or ')}.`);
    }
    const body = route.body ? await readJsonBody(request, route.body, bodyLimits(route)) : undefined;
    refuseSubscriberNumbers(body);
    return await route.handler({
      person,
      actor: `person:${person.name}`,
      params: request.params as Record<string, string>,
      body,
      query: route.query ? checkShape(request.query, route.query) : {},
    });
  };
  const path = `/api/v1${route.path}`;
  const answer = (request: Request, response: Response, next: NextFunction): void => {
    handle(request).then((body) => response.set('cache-control', 'no-store').json(body ?? null), next);
  };
  if (route.method === 'GET') app.get(path, answer);
  else app.post(path, answer);
}

function bodyLimits({ bodyBytesMax }: Route): { bytesMax: number } | undefined {
  return bodyBytesMax === undefined ? undefined : { bytesMax: bodyBytesMax };
}

const BEARER = /^Bearer ([A-Za-z0-9_-]{40,64})$/;

async function authenticate(deps: OperatorDeps, request: IncomingMessage): Promise<Person> {
  const token = BEARER.exec(request.headers.authorization ?? '')?.[1];
  const person = token ? await deps.people.byToken(sha256(token), 'cli', deps.clock.now()) : null;
  if (!person)
    throw new FemtoError('DENIED', 'No valid credential; the CLI reads it from the data directory’s secrets.');
  return person;
}

const signInBody = z.strictObject({ token: z.string().min(40).max(64), publicKeyPem: z.string().max(2_000) });

/** Spends a one-time link and binds the person's key: from then on this key signs their requests and approvals. */
async function signIn(deps: OperatorDeps, request: IncomingMessage): Promise<unknown> {
  const body = await readJsonBody(request, signInBody);
  const spki = publicKeyOf(body.publicKeyPem);
  const person = await deps.people.spendLink(sha256(body.token), deps.clock.now());
  if (!person) throw new FemtoError('DENIED', 'The link is unknown, used or older than 10 minutes; ask for a new one.');
  if (!(await deps.people.setFirstKey(person.id, spki))) {
    throw new FemtoError('STATE_CONFLICT', 'This person has a key already; a new key needs a new invitation.');
  }
  return { name: person.name, role: person.role };
}

function publicKeyOf(pem: string): Buffer {
  try {
    const key = createPublicKey(pem);
    if (key.asymmetricKeyType === 'ec' && !pem.includes('PRIVATE')) return key.export({ type: 'spki', format: 'der' });
  } catch (cause) {
    throw new FemtoError('BAD_REQUEST', 'The key is no PEM public key of an EC key.', { cause });
  }
  throw new FemtoError('BAD_REQUEST', 'Send the public half of a P-256 key, PEM.');
}

function secureHeaders(_request: Request, response: Response, next: NextFunction): void {
  response.set({
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
    'referrer-policy': 'no-referrer',
  });
  next();
}

function checkHost(hosts: readonly string[]) {
  return (request: Request, _response: Response, next: NextFunction): void => {
    // The list is complete once the port is known, and before anybody knows it.
    const known = hosts.includes(request.headers.host ?? '');
    next(
      known
        ? undefined
        : new FemtoError('DENIED', 'This host name is not served here; use the address that npm start printed.'),
    );
  };
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
