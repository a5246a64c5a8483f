import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { AskingGateway } from '../../lifecycle/admission/index.js';
import { type Feed, type FeedPage, PAGE_ENTRIES_MAX, positionText, readPosition } from '../../lifecycle/feed/index.js';
import type { Clock } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import type { LedgerPosition } from '../../platform/ledger/cursors.js';
import { checkShape, readJsonBody } from '../rest/body.js';
import type { DecisionSign } from './decision-sign.js';
import { signJws } from './feed-jws.js';
import type { FeedWatch } from './feed-watch.js';

export interface FeedRimDeps {
  readonly feed: Pick<Feed, 'read' | 'acknowledge'>;
  readonly watch: FeedWatch;
  /** Where the CRL of a CA is fetched, by the CA's label. */
  readonly crlUrl: (label: string) => string;
  readonly sign: DecisionSign;
  readonly clock: Clock;
}

export const FEED_TYPE = 'femtopki-feed+jws';
const WAIT_SECONDS_MAX = 25;
/** A gateway needs one; a few more bridge its restarts. */
const WAITS_A_GATEWAY_MAX = 4;

const position = z.string().transform((text, context) => {
  const read = readPosition(text);
  if (read) return read;
  context.addIssue({ code: 'custom' });
  return z.NEVER;
});

const feedQuery = z.strictObject({
  after: position,
  limit: z.coerce.number().int().min(1).max(PAGE_ENTRIES_MAX).default(PAGE_ENTRIES_MAX),
  wait: z.coerce.number().int().min(0).max(WAIT_SECONDS_MAX).default(0),
  /** Chosen by the gateway, 16 to 64 octets in hex; comes back signed. */
  nonce: z
    .string()
    .regex(/^(?:[0-9a-f]{2}){16,64}$/)
    .optional(),
});

const ackBody = z.strictObject({ position, stage: z.enum(['received', 'enforced']) });

/** `GET /v1/feed` and `POST /v1/feed/acks`. */
export interface FeedHandler {
  /**
   * One page as a compact JWS. With `wait`, the answer comes with the next entry, or empty when the time is over.
   *
   * @param stillAllowed  proves the caller again: a gateway may be disabled while it waits
   */
  page(call: FeedCall): Promise<string>;
  acknowledge(gateway: AskingGateway, request: IncomingMessage): Promise<Record<string, unknown>>;
}

export interface FeedCall {
  readonly gateway: AskingGateway;
  readonly query: URLSearchParams;
  readonly signal: AbortSignal;
  readonly stillAllowed: () => Promise<unknown>;
}

export function makeFeedHandler(deps: FeedRimDeps): FeedHandler {
  const waits = new Map<number, number>();

  const page = async ({ gateway, query, signal, stillAllowed }: FeedCall): Promise<string> => {
    const { after, limit, wait, nonce } = readQuery(query);
    // A process that cannot sign says so now and not after the wait.
    deps.sign(Buffer.alloc(0));
    const deadlineMs = performance.now() + wait * 1_000;
    let found = await deps.feed.read(after, limit);
    while (isNothing(found)) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0 || signal.aborted) break;
      const { to, end } = found;
      // Before the end there is more to look through at once; what was looked through stays behind.
      const isMore = to.seq < end.seq || (await waitFor(gateway, () => deps.watch.beyond(to, leftMs, signal)));
      await stillAllowed();
      found = await deps.feed.read(to, limit);
      if (!isMore) break;
    }
    const about = { gateway: gateway.name, nonce: nonce ?? null, at: deps.clock.now().toISOString() };
    return signJws(deps.sign, FEED_TYPE, JSON.stringify({ version: 1, ...about, ...wirePage(deps, found, after) }));
  };

  /** Counts who waits, by gateway. */
  const waitFor = async (gateway: AskingGateway, wait: () => Promise<boolean>): Promise<boolean> => {
    const count = waits.get(gateway.machineId) ?? 0;
    if (count >= WAITS_A_GATEWAY_MAX) {
      throw new FemtoError('RATE_LIMITED', `At most ${WAITS_A_GATEWAY_MAX} calls of a gateway wait at once.`, {
        retryAfterSeconds: 1,
      });
    }
    waits.set(gateway.machineId, count + 1);
    return wait().finally(() => {
      const left = (waits.get(gateway.machineId) ?? 1) - 1;
      if (left === 0) waits.delete(gateway.machineId);
      else waits.set(gateway.machineId, left);
    });
  };

  return {
    page,
    acknowledge: async (gateway, request) => {
      const { position: to, stage } = await readJsonBody(request, ackBody);
      const cursor = await deps.feed.acknowledge({ gatewayId: gateway.machineId, stage, position: to });
      return {
        gateway: gateway.name,
        received: positionText(cursor.received),
        enforced: positionText(cursor.enforced),
      };
    },
  };
}

function isNothing(page: FeedPage): page is Extract<FeedPage, { kind: 'entries' }> {
  return page.kind === 'entries' && page.entries.length === 0;
}

/** `from` is what the reader asked after, whatever was looked through on the way. */
function wirePage({ crlUrl }: FeedRimDeps, page: FeedPage, from: LedgerPosition): Record<string, unknown> {
  const span = { kind: page.kind, from: positionText(from), to: positionText(page.to) };
  if (page.kind === 'entries') return { ...span, end: positionText(page.end), entries: page.entries };
  return {
    ...span,
    reason: page.reason,
    crls: page.crls.map(({ label, certificateDer, ...crl }) => ({
      ...crl,
      url: crlUrl(label),
      certificate: certificateDer.toString('base64'),
    })),
  };
}

function readQuery(query: URLSearchParams): z.infer<typeof feedQuery> {
  const names = [...query.keys()];
  if (new Set(names).size !== names.length) {
    throw new FemtoError('BAD_REQUEST', 'A parameter stands twice in the query; send each once.');
  }
  return checkShape(Object.fromEntries(query), feedQuery);
}
