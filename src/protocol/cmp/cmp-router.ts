import type { IncomingMessage, ServerResponse } from 'node:http';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { CMP_BYTES_MAX } from '../../x509/cmp/index.js';
import { type HttpHandler, pathOf } from '../mount.js';
import { readBody } from '../rest/body.js';
import { clientAddress } from '../rest/client-address.js';
import { traceIdOf } from '../rest/problem.js';
import type { CmpDeps } from './cmp-deps.js';
import { endpointOf } from './endpoint.js';
import { serveMessage } from './serve-message.js';

/**
 * CMP over HTTP, the same behind TLS and in the clear: messages protect themselves. Whatever is wrong with a message is said
 * in CMP under 200, because old clients read no other; a bare status is for what is no CMP at all.
 *
 * @see RFC 9811 section 3
 */
export function makeCmpRouter(deps: CmpDeps): HttpHandler {
  return async (request, response) => {
    const traceId = traceIdOf(request);
    const address = clientAddress(request, deps.trustedProxies);
    let answer: Buffer;
    try {
      if (request.method !== 'POST') throw notCmp(405, 'wants POST');
      const der = await readBody(request, { bytesMax: HTTP_BYTES_MAX, mediaType: MEDIA_TYPE });
      const ra = deps.ra.current();
      if (ra === null)
        throw new FemtoError('RETRY_LATER', 'No certificate protects CMP answers yet; see femtopki machine.');
      const endpoint = endpointOf(pathOf(request));
      answer = await serveMessage(deps, ra, { der, endpoint, address, traceId });
    } catch (thrown) {
      await refuse(deps, { request, response, thrown, address, traceId });
      return;
    }
    response.writeHead(200, { 'content-type': MEDIA_TYPE, 'content-length': answer.length }).end(answer);
  };
}

const MEDIA_TYPE = 'application/pkixcmp';
/** Above the reader's own limit: what is a little too large is told so in CMP, what is far too large is not read. */
const HTTP_BYTES_MAX = 2 * CMP_BYTES_MAX;

async function refuse(
  deps: CmpDeps,
  refused: {
    request: IncomingMessage;
    response: ServerResponse;
    thrown: unknown;
    address: string;
    traceId: string;
  },
): Promise<void> {
  const { request, response, thrown, address, traceId } = refused;
  const error = asFemtoError(thrown);
  if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
  await deps
    .recordRefusal({ unitSerialNumber: null, operation: 'cmp http', error, address, traceId })
    .catch((failure: unknown) => deps.onInternal(failure, traceId));
  const status = error.code === 'BAD_REQUEST' ? Number(error.facts['status'] ?? 400) : 503;
  response
    .writeHead(status, {
      'content-length': 0,
      ...(status === 405 ? { allow: 'POST' } : {}),
      ...(status === 503 ? { 'retry-after': RETRY_AFTER_SECONDS } : {}),
      // A body that nobody wants need not be heard to its end.
      ...(request.complete ? {} : { connection: 'close' }),
    })
    .end();
}

const RETRY_AFTER_SECONDS = '30';

function notCmp(status: number, fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `The path ${fault}; see the CMP page.`, { facts: { status } });
}
