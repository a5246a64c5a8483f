import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface CuttingProxy {
  readonly port: number;
  /** How many connections it cut. */
  readonly cuts: () => number;
  close(): Promise<void>;
}

const APPLICATION_DATA = 23;

/**
 * Loses answers: it passes TLS 1.2 on until the server's first record of application data, and ends both sides instead of
 * handing that over. The server has done its work then; the client hears nothing.
 */
export async function cuttingProxy(to: number): Promise<CuttingProxy> {
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(to, '127.0.0.1');
    endTogether(client, upstream);
    client.pipe(upstream);
    let held = Buffer.alloc(0);
    upstream.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk]);
      for (let end = recordEnd(held); end > 0; end = recordEnd(held)) {
        if (held[0] === APPLICATION_DATA) {
          cuts += 1;
          client.destroy();
          return;
        }
        client.write(held.subarray(0, end));
        held = held.subarray(end);
      }
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    port: (server.address() as AddressInfo).port,
    cuts: () => cuts,
    close: () => new Promise((done) => void server.close(() => done())),
  };
}

/** Where the first TLS record ends; 0 while it is not all there (RFC 5246 section 6.2.1). */
function recordEnd(bytes: Buffer): number {
  const end = bytes.length < 5 ? 0 : 5 + bytes.readUInt16BE(3);
  return end <= bytes.length ? end : 0;
}

function endTogether(one: Socket, other: Socket): void {
  // A side that breaks off takes the other with it, which is what this proxy is for.
  one.on('error', () => other.destroy()).on('close', () => other.destroy());
  other.on('error', () => one.destroy()).on('close', () => one.destroy());
}
