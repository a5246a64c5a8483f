/**
 * An S3-compatible store of the test's own: path-style objects in memory, Signature Version 4 checked as Amazon's manual says
 * (not with the client's library), conditional writes, and faults on demand.
 */
import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export const STORE_KEY = {
  accessKeyId: 'AKIAFEMTOPKITEST',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
};
export const STORE_REGION = 'eu-test-1';

interface StoredObject {
  readonly body: Buffer;
  readonly etag: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface S3Store {
  /** With bucket and prefix, as status.crlStore.url has it. */
  readonly url: string;
  /** By name, `device-ca-1.crl`. */
  readonly objects: Map<string, StoredObject>;
  /** Method and name of each request whose signature was right. */
  readonly requests: string[];
  /** Requests refused for their signature. */
  readonly refused: string[];
  /** Runs after a request was checked and before it is carried out; an answer of its own, or nothing. */
  onRequest: (method: string, name: string) => Promise<{ status: number; code: string } | undefined>;
  /** Refuses connections, or takes them again on the same port. */
  setAway(isAway: boolean): Promise<void>;
  close(): Promise<void>;
}

const PREFIX = '/crls/pki/';

export async function startS3Store(key = STORE_KEY): Promise<S3Store> {
  const objects: S3Store['objects'] = new Map();
  const requests: string[] = [];
  const refused: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { method = '', url = '' } = request;
    const say = (status: number, code: string): void => {
      const text = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code></Error>`;
      response.writeHead(status, { 'Content-Type': 'application/xml' }).end(method === 'HEAD' ? undefined : text);
    };
    const fault = signatureFault(request, body, key);
    if (fault !== undefined) {
      refused.push(fault);
      return say(403, 'SignatureDoesNotMatch');
    }
    const name = url.slice(PREFIX.length);
    requests.push(`${method} ${name}`);
    const instead = await store.onRequest(method, name);
    if (instead) return say(instead.status, instead.code);
    if (!url.startsWith(PREFIX)) return say(404, 'NoSuchBucket');
    const found = objects.get(name);
    if (method === 'PUT') {
      const { 'if-match': match, 'if-none-match': noneMatch } = request.headers;
      if (noneMatch === '*' && found) return say(412, 'PreconditionFailed');
      if (match !== undefined && match !== found?.etag)
        return say(found ? 412 : 404, found ? 'PreconditionFailed' : 'NoSuchKey');
      const etag = `"${createHash('md5').update(body).digest('hex')}"`;
      const { 'content-type': type = '', 'cache-control': cacheControl = '' } = request.headers;
      objects.set(name, { body, etag, headers: { 'Content-Type': type, 'Cache-Control': cacheControl } });
      response.writeHead(200, { ETag: etag }).end();
    } else if (!found) say(404, 'NoSuchKey');
    else {
      response.writeHead(200, { ...found.headers, ETag: found.etag, 'Content-Length': found.body.length });
      response.end(method === 'HEAD' ? undefined : found.body);
    }
  };
  const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()));
  const listen = (port: number) => new Promise<void>((done) => server.listen(port, '127.0.0.1', done));
  const shut = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const store: S3Store = {
    url: `http://127.0.0.1:${port}${PREFIX.slice(0, -1)}`,
    objects,
    requests,
    refused,
    onRequest: async () => undefined,
    setAway: (isAway) => (isAway ? shut() : listen(port)),
    close: shut,
  };
  return store;
}

/**
 * @returns what is wrong with the signature; undefined: nothing
 * @see Amazon S3 API Reference, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)"
 */
function signatureFault(request: IncomingMessage, body: Buffer, key: typeof STORE_KEY): string | undefined {
  const { method = '', url = '', headers } = request;
  const said =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(
      headers.authorization ?? '',
    );
  if (!said) return `no signature: ${headers.authorization}`;
  const [, accessKeyId, day = '', region = '', signedHeaders = '', signature] = said;
  const contentHash = headers['x-amz-content-sha256'];
  if (contentHash !== createHash('sha256').update(body).digest('hex')) return 'the content is not what was signed';
  const time = String(headers['x-amz-date']);
  if (!/^\d{8}T\d{6}Z$/.test(time) || !time.startsWith(day)) return `no time: ${time}`;
  for (const name of Object.keys(headers)) {
    const isBinding = name === 'host' || name.startsWith('x-amz-') || name.startsWith('if-');
    if (isBinding && !signedHeaders.split(';').includes(name)) return `${name} is not signed`;
  }
  const canonical = [
    method,
    url,
    '',
    ...signedHeaders.split(';').map((name) => `${name}:${headers[name]}`),
    '',
    signedHeaders,
    contentHash,
  ].join('\n');
  const scope = `${day}/${region}/s3/aws4_request`;
  const toSign = `AWS4-HMAC-SHA256\n${time}\n${scope}\n${createHash('sha256').update(canonical).digest('hex')}`;
  const hmac = (secret: string | Buffer, text: string) => createHmac('sha256', secret).update(text).digest();
  const signingKey = [region, 's3', 'aws4_request'].reduce(hmac, hmac(`AWS4${key.secretAccessKey}`, day) as Buffer);
  const expected = hmac(signingKey, toSign).toString('hex');
  if (accessKeyId !== key.accessKeyId || region !== STORE_REGION) return `${accessKeyId} in ${region} is not known`;
  return signature === expected ? undefined : 'the signature does not match';
}
