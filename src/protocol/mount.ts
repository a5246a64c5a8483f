import type { IncomingMessage, ServerResponse } from 'node:http';

/** Answers one request; what it throws, or rejects with, is a fault of ours. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void;

/**
 * The path that a request asks for, without its query. A client that believes it speaks to a proxy sends the whole address;
 * every server must understand that (RFC 9112 section 3.2.2). Whose address it is does not matter: there is one server here.
 */
export function pathOf({ url = '' }: Pick<IncomingMessage, 'url'>): string {
  const path = url.replace(ORIGIN, '').split('?', 1)[0] ?? '';
  return path === '' ? '/' : path;
}

const ORIGIN = /^https?:\/\/[^/?#]*/i;

/**
 * Gives each request to the handler whose path it is under: the path itself, or anything behind it and a slash. The first
 * that fits wins. Handlers see the whole path.
 *
 * @param mounts     path without a trailing slash -> handler
 * @param otherwise  for every other path
 */
export function mountPaths(
  mounts: Readonly<Record<string, HttpHandler>>,
  otherwise: HttpHandler,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const table = Object.entries(mounts);
  return async (request, response) => {
    const path = pathOf(request);
    const found = table.find(([prefix]) => path === prefix || path.startsWith(`${prefix}/`));
    await (found?.[1] ?? otherwise)(request, response);
  };
}

/** 404 without a body. The connection goes too: a body that was announced for nothing need not be heard to its end. */
export const answerNotFound: HttpHandler = (_request, response) => {
  response.writeHead(404, { 'content-length': 0, connection: 'close' }).end();
};
