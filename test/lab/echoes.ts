/** Packets through the tunnel: a UDP echo behind the gateway, and a sender on the unit's side that counts what comes back. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { ended, inNamespace } from '../support/strongswan.js';

const PORT = 7;
const EVERY_MS = 20;

export interface Echoes {
  /** How many left this side, or tried to. */
  sent(): number;
  /** How many have come back so far. */
  count(): number;
  /** When the last one came, epoch ms; 0 = none. */
  lastAt(): number;
  stop(): Promise<void>;
}

const SERVER = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', (text, { port, address }) => socket.send(text, port, address, () => undefined));
socket.on('error', () => undefined);
socket.bind(${PORT}, process.argv[1], () => console.log('listens'));
`;

const CLIENT = `
const socket = require('node:dgram').createSocket('udp4');
socket.on('message', () => console.log('back ' + Date.now()));
// Without a tunnel there is no route: that is what is to be seen.
socket.on('error', () => undefined);
setInterval(() => socket.send('echo', ${PORT}, process.argv[1], () => console.log('sent')), ${EVERY_MS});
`;

export async function startEcho(space: string, address: string): Promise<() => Promise<void>> {
  const child = runInside(space, SERVER, address);
  await new Promise<void>((done, fail) => {
    child.stdout?.once('data', () => done());
    child.once('exit', (code) => fail(new Error(`the echo in ${space} ended with ${code}`)));
  });
  return () => ended(child);
}

export async function startEchoes(
  space: string,
  address: string,
  undo: (() => Promise<void> | void)[],
): Promise<Echoes> {
  const child = runInside(space, CLIENT, address);
  undo.push(() => ended(child));
  let count = 0;
  let sent = 0;
  let lastAt = 0;
  createInterface({ input: child.stdout as Readable }).on('line', (line) => {
    if (line === 'sent') {
      sent += 1;
    } else {
      count += 1;
      lastAt = Number(line.slice(5));
    }
  });
  return { sent: () => sent, count: () => count, lastAt: () => lastAt, stop: () => ended(child) };
}

function runInside(space: string, program: string, address: string): ChildProcess {
  return spawn('nsenter', [inNamespace(space), process.execPath, '-e', program, address], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
