import { connect, createServer } from 'node:net';

/**
 * A unit's own line, for clients that cannot choose the address they call from: connects to the target from `address`.
 *
 * @returns where the client connects instead, `127.0.0.1:<port>`, and how to take it away
 */
export async function openHomeRouter(options: {
  readonly target: URL;
  readonly address: string;
}): Promise<{ readonly place: string; close(): void }> {
  const { target, address } = options;
  const server = createServer((client) => {
    const line = connect({ host: target.hostname, port: Number(target.port), localAddress: address });
    // Either side going away ends the other.
    client.once('error', () => line.destroy());
    line.once('error', () => client.destroy());
    client.pipe(line).pipe(client);
  });
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  const { port } = server.address() as { port: number };
  return { place: `127.0.0.1:${port}`, close: () => void server.close() };
}
