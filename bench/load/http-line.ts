import type { Socket } from 'node:net';

export interface LineAnswer {
  readonly status: number;
  /** As it came, up to the empty line. */
  readonly head: string;
  readonly body: Buffer;
}

const NOTHING = Buffer.alloc(0);
const SILENCE_MS_MAX = 30_000;

/**
 * One kept-alive HTTP/1.1 connection with one request under way: a client library would cost more than the server. Dials
 * again where the server said that it closes.
 */
export class HttpLine {
  private socket: Socket | undefined;
  private held: Buffer = NOTHING;
  private take: ((answer: LineAnswer) => void) | undefined;
  private fail: ((error: Error) => void) | undefined;

  /** @param ready  event after which the socket that was dialled may be written to */
  constructor(
    private readonly dial: () => Socket,
    private readonly ready: 'connect' | 'secureConnect',
  ) {}

  async ask(request: Buffer): Promise<LineAnswer> {
    this.socket ??= await this.open();
    const { socket } = this;
    const answer = await new Promise<LineAnswer>((done, fail) => {
      this.take = done;
      this.fail = fail;
      socket.write(request);
    });
    if (/^connection: close\r?$/im.test(answer.head)) this.end();
    return answer;
  }

  end(): void {
    this.socket?.removeAllListeners('close').destroy();
    this.socket = undefined;
    this.held = NOTHING;
  }

  private open(): Promise<Socket> {
    return new Promise((done, fail) => {
      const socket = this.dial();
      this.fail = fail;
      socket.setNoDelay(true);
      socket.setTimeout(SILENCE_MS_MAX, () => socket.destroy(new Error('the server said nothing for too long')));
      socket.once(this.ready, () => done(socket));
      socket.on('data', (chunk: Buffer) => this.hear(chunk));
      socket.on('error', (error) => this.fail?.(error));
      socket.on('close', () => {
        if (this.socket === socket) this.end();
        this.fail?.(new Error('the server closed the connection'));
      });
    });
  }

  private hear(chunk: Buffer): void {
    this.held = this.held.length === 0 ? chunk : Buffer.concat([this.held, chunk]);
    const end = this.held.indexOf('\r\n\r\n');
    if (end < 0) return;
    const head = this.held.toString('latin1', 0, end);
    const length = Number(/^content-length: (\d+)\r?$/im.exec(head)?.[1] ?? 0);
    const whole = end + 4 + length;
    if (this.held.length < whole) return;
    const body = this.held.subarray(end + 4, whole);
    this.held = NOTHING;
    this.take?.({ status: Number(head.slice(9, 12)), head, body });
  }
}

/** A whole request, ready to be written. */
export function httpRequest(start: string, headers: Readonly<Record<string, string>>, body: Buffer = NOTHING): Buffer {
  const lines = Object.entries({ host: 'localhost', ...headers, 'content-length': String(body.length) });
  const text = [`${start} HTTP/1.1`, ...lines.map(([name, value]) => `${name}: ${value}`), '', ''].join('\r\n');
  return Buffer.concat([Buffer.from(text, 'latin1'), body]);
}
