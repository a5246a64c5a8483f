/** Roads between network namespaces that share no network: a socket of the file system has no namespace. */
import { spawn } from 'node:child_process';
import { ended, inNamespace } from './strongswan.js';

/** From and to: `host:port`, or the path of a unix socket. */
export type Road = readonly [from: string, to: string];

const PROGRAM = `
const { createServer, connect } = require('node:net');
const place = (text) => text.startsWith('/') ? { path: text } : { host: text.split(':')[0], port: Number(text.split(':')[1]) };
const roads = JSON.parse(process.argv[1]);
let open = 0;
for (const [from, to] of roads) {
  createServer((inner) => {
    const outer = connect(place(to));
    inner.on('error', () => outer.destroy()).on('close', () => outer.destroy());
    outer.on('error', () => inner.destroy()).on('close', () => inner.destroy());
    inner.pipe(outer).pipe(inner);
  }).listen(place(from), () => { if (++open === roads.length) console.log('listens'); });
}
`;

/** @param namespace  where it listens and from where it connects; absent: here */
export async function startRelay(
  namespace: string | undefined,
  roads: readonly Road[],
  undo: (() => Promise<void> | void)[],
): Promise<void> {
  const program = [process.execPath, '-e', PROGRAM, JSON.stringify(roads)];
  const command = namespace === undefined ? program : ['nsenter', inNamespace(namespace), ...program];
  const child = spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  undo.push(() => ended(child));
  await new Promise<void>((done, fail) => {
    child.stdout.once('data', () => done());
    child.once('exit', (code) => fail(new Error(`a relay ended with ${code}`)));
  });
}
