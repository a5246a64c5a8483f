/** The servers' side of the signer's sockets: reconnecting, pipelined, and never an exception for a token fault. */
import type { Socket } from 'node:net';
import type { Signer, SignerRole, SignRequest, SignResult } from '../signer.js';
import { type Dial, dialHere } from './dial-signer.js';
import { decodeResults, encodeRequests, FRAME_BYTES_MAX, FRAME_ITEMS_MAX, FrameReader } from './frames.js';
import { CLASS_OF_PURPOSE, KEY_CLASSES, type KeyClass, mayAsk } from './key-class.js';

const DEADLINE_MS = 5_000;
/** Frames stay small so that a big batch's first rows are signed while its last ones are still on the way. */
const FRAME_ITEMS = 256;
const TBS_BYTES_MAX = 64 * 1024 * 1024;

export interface SignerClientOptions {
  /** The installation's run directory, which holds the sockets or the file that points to them. */
  readonly runDir: string;
  readonly role: SignerRole;
  /** Another way to a signer than this host's sockets. */
  readonly dial?: Dial;
  /** Milliseconds until a row without an answer says HSM_UNAVAILABLE; default 5,000. */
  readonly deadlineMs?: number;
}

/** Connects at the first request and again after every loss; works with a signer that starts later. */
export function connectSigner(options: SignerClientOptions): Signer {
  const dial = options.dial ?? dialHere(options.runDir, options.role);
  const deadlineMs = options.deadlineMs ?? DEADLINE_MS;
  const lines = new Map<KeyClass, SignerLine>(
    KEY_CLASSES.map((keyClass) => [keyClass, new SignerLine(() => dial(keyClass), deadlineMs)]),
  );
  return {
    async sign(requests) {
      const results = new Array<SignResult>(requests.length);
      const byClass = new Map<KeyClass, number[]>();
      for (const [index, request] of requests.entries()) {
        const refusal = refusedHere(request, options.role);
        if (refusal) results[index] = refusal;
        else {
          const keyClass = CLASS_OF_PURPOSE[request.purpose];
          const indexes = byClass.get(keyClass);
          if (indexes) indexes.push(index);
          else byClass.set(keyClass, [index]);
        }
      }
      const sending = [...byClass].flatMap(([keyClass, indexes]) =>
        chunksOf(indexes, requests).map(async (chunk) => {
          const rows = chunk.flatMap((index) => requests[index] ?? []);
          const answers = (await lines.get(keyClass)?.ask(rows)) ?? [];
          for (const [position, index] of chunk.entries()) {
            results[index] = answers[position] ?? unavailable('The signer gave no answer for this row.');
          }
        }),
      );
      await Promise.all(sending);
      return results;
    },
    async close() {
      for (const line of lines.values()) line.close();
    },
  };
}

/** One socket to one class process. */
class SignerLine {
  private line: Promise<Socket> | undefined;
  /** When this line last brought anything. */
  private heardMs = 0;
  private nextId = 1;
  private readonly waiting = new Map<number, (results: SignResult[] | undefined, why: string) => void>();

  constructor(
    private readonly dial: () => Promise<Socket>,
    private readonly deadlineMs: number,
  ) {}

  ask(requests: readonly SignRequest[]): Promise<SignResult[]> {
    return new Promise((resolve) => {
      const id = this.nextId;
      this.nextId = (this.nextId + 1) % 0xffffffff;
      const line = this.connected();
      const askedMs = performance.now();
      const timer = setTimeout(() => {
        settle(undefined, 'The signer did not answer in time.');
        // Slow is one thing. Behind a cut link nothing comes at all, and no socket says so for a quarter of an hour.
        if (this.heardMs < askedMs) this.lose(line, 'The signer fell silent.');
      }, this.deadlineMs);
      const settle = (results: SignResult[] | undefined, why: string): void => {
        clearTimeout(timer);
        this.waiting.delete(id);
        resolve(results ?? requests.map(() => unavailable(why)));
      };
      this.waiting.set(id, settle);
      line.then(
        (socket) => {
          // A row that waited for the line longer than its deadline has had its answer.
          if (this.waiting.has(id)) socket.write(encodeRequests(id, requests));
        },
        (fault: Error) => settle(undefined, fault.message),
      );
    });
  }

  close(): void {
    this.lose(this.line, 'The signer client was closed.');
  }

  private connected(): Promise<Socket> {
    if (this.line) return this.line;
    const line = this.dial();
    this.line = line;
    line.then(
      (socket) => this.listen(socket, line),
      (fault: Error) => this.lose(line, fault.message),
    );
    return line;
  }

  private listen(socket: Socket, line: Promise<Socket>): void {
    const frames = new FrameReader(FRAME_BYTES_MAX);
    socket.on('data', (chunk) => {
      this.heardMs = performance.now();
      try {
        for (const body of frames.push(chunk)) {
          const { id, results } = decodeResults(body);
          this.waiting.get(id)?.(results, '');
        }
      } catch (fault) {
        socket.destroy(fault instanceof Error ? fault : undefined);
      }
    });
    // 'close' follows and tells the waiting rows; a listener must be there or the process would end.
    let cause = 'The signer closed the connection.';
    socket.on('error', (fault) => {
      cause = `The signer cannot be reached (${'code' in fault ? String(fault.code) : fault.name}).`;
    });
    socket.on('close', () => this.lose(line, cause));
    // Lost between the dial's end and our listening.
    if (socket.destroyed) this.lose(line, cause);
  }

  private lose(line: Promise<Socket> | undefined, why: string): void {
    if (line === undefined || this.line !== line) return;
    this.line = undefined;
    line.then(
      (socket) => socket.destroy(),
      () => undefined,
    );
    for (const settle of [...this.waiting.values()]) settle(undefined, why);
  }
}

/** Rows that no signer would take: said here, so that the neighbours travel without them. */
function refusedHere(request: SignRequest, role: SignerRole): SignResult | undefined {
  if (!mayAsk(role, request.purpose)) {
    return { ok: false, code: 'DENIED', message: `The role ${role} may not ask for ${request.purpose}.` };
  }
  if (request.tbs.length > TBS_BYTES_MAX || request.name.length > 200 || request.keyLabel.length > 63) {
    return {
      ok: false,
      code: 'BAD_REQUEST',
      message: 'The TBS, the name or the key label is too long for the signer.',
    };
  }
  return undefined;
}

function chunksOf(indexes: readonly number[], requests: readonly SignRequest[]): number[][] {
  const chunks: number[][] = [];
  let chunk: number[] = [];
  let bytes = 0;
  for (const index of indexes) {
    const request = requests[index];
    const size = (request?.tbs.length ?? 0) + (request?.evidence?.length ?? 0) + 512;
    const isFull = chunk.length >= Math.min(FRAME_ITEMS, FRAME_ITEMS_MAX) || bytes + size > FRAME_BYTES_MAX / 8;
    if (chunk.length > 0 && isFull) {
      chunks.push(chunk);
      chunk = [];
      bytes = 0;
    }
    chunk.push(index);
    bytes += size;
  }
  if (chunk.length > 0) chunks.push(chunk);
  return chunks;
}

function unavailable(message: string): SignResult {
  return { ok: false, code: 'HSM_UNAVAILABLE', message };
}
