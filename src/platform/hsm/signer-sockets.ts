/** The signer's ears: one unix socket a role, mode 0660. The socket a frame comes in by decides its role. */
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { FemtoError } from '../errors.js';
import type { SignerRole, SignResult } from '../signer.js';
import { decodeRequests, encodeResults, FRAME_BYTES_MAX, FrameReader } from './frames.js';
import { type KeyClass, rolesOfClass } from './key-class.js';
import type { DeskItem } from './signing-desk.js';
import { signerSocketPath } from './socket-path.js';

/** Only the worker sends CRLs; the other roles' whole batches are far smaller. */
const SMALL_FRAME_BYTES_MAX = 16 * 1024 * 1024;
const CONNECTIONS_MAX = 64;

export interface SignerSockets {
  close(): Promise<void>;
}

export async function listenForRoles(options: {
  runDir: string;
  keyClass: KeyClass;
  submit: (item: DeskItem) => void;
  onFault: (role: SignerRole, fault: Error) => void;
}): Promise<SignerSockets> {
  const servers: Server[] = [];
  const open = new Set<Socket>();
  // Group-writable from the first moment: a chmod after bind would leave a gap in which the mode is the default one.
  const before = process.umask(0o117);
  try {
    for (const role of rolesOfClass(options.keyClass)) {
      const path = signerSocketPath(options.runDir, options.keyClass, role);
      rmSync(path, { force: true });
      const server = createServer((socket) => {
        open.add(socket);
        socket.on('close', () => open.delete(socket));
        serve(socket, role, options);
      });
      server.maxConnections = CONNECTIONS_MAX;
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(path, resolve);
      });
      servers.push(server);
    }
  } finally {
    process.umask(before);
  }
  return {
    async close() {
      for (const socket of open) socket.destroy();
      await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

function serve(
  socket: Socket,
  role: SignerRole,
  { submit, onFault }: { submit: (item: DeskItem) => void; onFault: (role: SignerRole, fault: Error) => void },
): void {
  const frames = new FrameReader(role === 'worker' ? FRAME_BYTES_MAX : SMALL_FRAME_BYTES_MAX);
  socket.on('error', (fault) => onFault(role, fault));
  socket.on('data', (chunk) => {
    try {
      for (const body of frames.push(chunk)) answerFrame(body, role, socket, submit);
    } catch (fault) {
      // Both ends are ours: a frame we cannot read is a bug or an intruder, and nothing after it can be trusted.
      onFault(role, fault instanceof Error ? fault : new FemtoError('INTERNAL', 'The frame could not be read.'));
      socket.destroy();
    }
  });
}

function answerFrame(body: Buffer, role: SignerRole, socket: Socket, submit: (item: DeskItem) => void): void {
  const { id, requests } = decodeRequests(body);
  const results = new Array<SignResult>(requests.length);
  let missing = requests.length;
  if (missing === 0) socket.write(encodeResults(id, []));
  for (const [index, request] of requests.entries()) {
    const answer = (result: SignResult): void => {
      results[index] = result;
      missing -= 1;
      if (missing === 0 && socket.writable) socket.write(encodeResults(id, results));
    };
    submit({ request, role, answer });
  }
}
