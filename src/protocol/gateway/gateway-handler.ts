import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import {
  type AdmissionDeps,
  type AskingGateway,
  makeAuthorise,
  type SessionDesk,
  type Snapshots,
} from '../../lifecycle/admission/index.js';
import type { Feed } from '../../lifecycle/feed/index.js';
import type { CaOffice } from '../../lifecycle/registry/index.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { problemOf, sendProblem, traceIdOf } from '../rest/problem.js';
import { type AnchorHandler, makeAnchorHandler } from './anchor-handler.js';
import { type AuthoriseHandler, makeAuthoriseHandler } from './authorise-handler.js';
import { type CallerDeps, type CallingGateways, makeCallingGateways } from './calling-gateway.js';
import type { DecisionSign } from './decision-sign.js';
import { type FeedHandler, makeFeedHandler } from './feed-handler.js';
import type { FeedWatch } from './feed-watch.js';
import { makeSessionHandler, type SessionHandler } from './session-handler.js';
import { answerSnapshot } from './snapshot-handler.js';

/** What the gateway port needs. `sign` = the decision key of this process. */
export interface GatewayRimDeps extends Pick<CallerDeps, 'issuers' | 'machines' | 'certificates'> {
  readonly admission: AdmissionDeps;
  readonly sessions: SessionDesk;
  readonly snapshots: Snapshots;
  readonly feed: Pick<Feed, 'read' | 'acknowledge'>;
  readonly caOffice: Pick<CaOffice, 'acknowledge'>;
  readonly feedWatch: FeedWatch;
  /** Where the CRL of a CA is fetched, by the CA's label. */
  readonly crlUrl: (label: string) => string;
  readonly sign: DecisionSign;
  /** False while `sign` would refuse: then nothing is decided that nobody could check. */
  readonly canSign: () => boolean;
  readonly onInternal: (error: unknown, traceId: string) => void;
}

/** The gateway port, over mTLS: who calls is proved here, before anything of the request but its line is read. */
export function makeGatewayHandler(deps: GatewayRimDeps): (request: IncomingMessage, response: ServerResponse) => void {
  const { admission, feed, feedWatch: watch, crlUrl, sign } = deps;
  const handlers = {
    callers: makeCallingGateways({ ...deps, clock: admission.clock, db: admission.db }),
    authorise: makeAuthoriseHandler({ authorise: makeAuthorise(admission), sign, canSign: deps.canSign }),
    feed: makeFeedHandler({ feed, watch, crlUrl, sign, clock: admission.clock }),
    sessions: makeSessionHandler(deps.sessions),
    anchors: makeAnchorHandler(deps),
    snapshot: (gateway: AskingGateway, query: URLSearchParams) => answerSnapshot(deps, gateway, query),
  };
  return (request, response) => {
    const call: Call = { request, response, gateway: null };
    answer(handlers, call)
      .then(({ mediaType, content }) => {
        response.writeHead(200, {
          'content-type': mediaType,
          'cache-control': 'no-store',
          'content-length': Buffer.byteLength(content),
        });
        response.end(content);
      })
      .catch((thrown: unknown) => {
        const traceId = traceIdOf(request);
        const error = asFemtoError(thrown);
        if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
        // Whoever has not proved to be a gateway learns nothing but one of four words.
        sendProblem(response, problemOf(error, call.gateway === null ? 'device' : 'gateway', traceId));
      });
  };
}

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Set once the caller is proved. */
  gateway: AskingGateway | null;
}

interface Answer {
  readonly mediaType: 'application/json' | 'application/jose' | 'application/octet-stream';
  readonly content: string | Buffer;
}

interface Handlers {
  readonly callers: CallingGateways;
  readonly authorise: AuthoriseHandler;
  readonly feed: FeedHandler;
  readonly sessions: SessionHandler;
  readonly anchors: AnchorHandler;
  readonly snapshot: (gateway: AskingGateway, query: URLSearchParams) => Promise<Buffer>;
}

async function answer(handlers: Handlers, call: Call): Promise<Answer> {
  const { callers, authorise, feed, sessions, anchors, snapshot } = handlers;
  const { request } = call;
  // Cut and not parsed as a URL: that throws for paths that anybody may send.
  const [pathname = '', ...rest] = (request.url ?? '').split('?');
  const path = `${request.method} ${pathname}`;
  if (!PATHS.has(path)) throw new FemtoError('NOT_FOUND', `The gateway port answers ${[...PATHS].join(', ')}.`);
  const socket = request.socket as TLSSocket;
  const prove = (): Promise<AskingGateway> => callers.now(socket);
  const gateway = await (path === AUTHORISE ? callers.lately(socket) : prove());
  call.gateway = gateway;
  // The call that a gateway makes for each unit comes before what only the others need.
  if (path === AUTHORISE) return { mediaType: 'application/json', content: await authorise(gateway, request) };
  const query = new URLSearchParams(rest.join('?'));
  switch (path) {
    case FEED_ACKS:
      return json(await feed.acknowledge(gateway, request));
    case SESSION_EVENTS:
      return json(await sessions.report(gateway, request));
    case PROBES:
      return json(await sessions.questions(gateway));
    case PROBE_ANSWER:
      return json(await sessions.answer(gateway, request));
    case ANCHORS:
      return json(await anchors.list());
    case ANCHOR_ACKS:
      return json(await anchors.acknowledge(gateway, request));
    case SNAPSHOT:
      return { mediaType: 'application/octet-stream', content: await snapshot(gateway, query) };
    default:
      return {
        mediaType: 'application/jose',
        content: await feed.page({ gateway, query, signal: signalOf(call), stillAllowed: prove }),
      };
  }
}

/** Aborts when the caller goes. */
function signalOf({ response }: Call): AbortSignal {
  const gone = new AbortController();
  if (response.closed) gone.abort();
  else response.once('close', () => gone.abort());
  return gone.signal;
}

const AUTHORISE = 'POST /v1/authorise';
const FEED = 'GET /v1/feed';
const FEED_ACKS = 'POST /v1/feed/acks';
const SESSION_EVENTS = 'POST /v1/session-events';
const PROBES = 'GET /v1/probes';
const PROBE_ANSWER = 'POST /v1/probes';
const SNAPSHOT = 'GET /v1/snapshot';
const ANCHORS = 'GET /v1/anchors';
const ANCHOR_ACKS = 'POST /v1/anchors/acks';
const PATHS: ReadonlySet<string> = new Set([
  AUTHORISE,
  FEED,
  FEED_ACKS,
  SESSION_EVENTS,
  PROBES,
  PROBE_ANSWER,
  SNAPSHOT,
  ANCHORS,
  ANCHOR_ACKS,
]);

function json(body: unknown): Answer {
  return { mediaType: 'application/json', content: JSON.stringify(body) };
}
