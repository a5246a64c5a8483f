/**
 * A line on which a unit's power can go: told the point of an exchange, it calls `cut` exactly there, while the client
 * waits and before anything further reaches it. What the server does then it does for nobody.
 */
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { Server as TlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { readPkiMessage } from '../../src/x509/cmp/index.js';

/** Points of one renewal, in order; the last two are CMP's alone. */
export const LINE_POINTS = [
  'connected, nothing sent',
  'request sent',
  'answer made, not handed over',
  'answer handed over',
  'certConf made, not handed over',
  'certConf answered, the answer not handed over',
] as const;
export type LinePoint = (typeof LINE_POINTS)[number];

export interface CutLine {
  readonly port: number;
  /** The next time the point is reached, `cut` is called, once. */
  arm(point: LinePoint, cut: () => void): void;
  close(): Promise<void>;
}

function makeTrigger() {
  let armed: { readonly point: LinePoint; readonly cut: () => void } | null = null;
  return {
    arm: (point: LinePoint, cut: () => void): void => {
      armed = { point, cut };
    },
    /** True where the power went just now. */
    reach: (point: LinePoint): boolean => {
      if (armed?.point !== point) return false;
      const { cut } = armed;
      armed = null;
      cut();
      return true;
    },
  };
}

/** In front of a TLS server's own handler: inside TLS nobody on the way could tell the points apart. */
export function cutInside(server: TlsServer): CutLine {
  const { arm, reach } = makeTrigger();
  const handlers = server.listeners('request');
  server.removeAllListeners('request');
  server.prependListener('connection', () => reach('connected, nothing sent'));
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    reach('request sent');
    const end = response.end.bind(response);
    response.end = ((...content: Parameters<typeof end>) => {
      reach('answer made, not handed over');
      response.once('finish', () => reach('answer handed over'));
      return end(...content);
    }) as typeof response.end;
    for (const handle of handlers) handle.call(server, request, response);
  });
  return { port: (server.address() as AddressInfo).port, arm, close: async () => undefined };
}

/** A relay for CMP over plain HTTP, which can be read on the way. */
export async function cutBetween(to: number): Promise<CutLine> {
  const { arm, reach } = makeTrigger();
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = await bytesOf(request);
    const isCertConf = readPkiMessage(body).body.kind === 'certConf';
    // A request that was sent goes on to the server; a certConf is still the unit's when its power goes.
    if (!isCertConf) reach('request sent');
    else if (reach('certConf made, not handed over')) {
      response.destroy();
      return;
    }
    const answer = await relay(to, request.url ?? '', body);
    if (reach(isCertConf ? 'certConf answered, the answer not handed over' : 'answer made, not handed over')) {
      response.destroy();
      return;
    }
    response.writeHead(answer.status, { 'content-type': 'application/pkixcmp', 'content-length': answer.body.length });
    response.end(answer.body, () => {
      // What the client still wrote in its last moment stays on this side of the line.
      if (!isCertConf && reach('answer handed over')) request.socket.destroy();
    });
  };
  const server: Server = createServer((request, response) => {
    // A client that was killed leaves a request that never ends.
    serve(request, response).catch(() => response.destroy());
  });
  server.on('connection', (socket) => {
    socket.on('error', () => socket.destroy());
    reach('connected, nothing sent');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    arm,
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}

async function bytesOf(stream: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

async function relay(port: number, path: string, body: Buffer): Promise<{ status: number; body: Buffer }> {
  const headers = { 'content-type': 'application/pkixcmp', 'content-length': body.length };
  const answer = await new Promise<IncomingMessage>((done, fail) => {
    httpRequest({ host: '127.0.0.1', port, path, method: 'POST', agent: false, headers }, done)
      .on('error', fail)
      .end(body);
  });
  return { status: answer.statusCode ?? 0, body: await bytesOf(answer) };
}
