/**
 * Stands in for the signer's ocsp class where no token is measured: the same frames over the same kind of socket, keys in
 * memory, nothing judged. argv[2]: socket; first message: JSON of `[[label, PKCS#8 PEM], …]`. Says `ready`.
 */
import { createPrivateKey, type KeyObject, sign } from 'node:crypto';
import { createServer } from 'node:net';
import { decodeRequests, encodeResults, FRAME_BYTES_MAX, FrameReader } from '../../src/platform/hsm/frames.js';

const [, , path = ''] = process.argv;
const keys = new Map<string, KeyObject>();

const server = createServer((socket) => {
  const frames = new FrameReader(FRAME_BYTES_MAX);
  socket.on('data', (chunk) => {
    for (const body of frames.push(chunk)) {
      const { id, requests } = decodeRequests(body);
      const results = requests.map(({ keyLabel, tbs }) => {
        const key = keys.get(keyLabel);
        return key === undefined
          ? ({ ok: false, code: 'HSM_UNAVAILABLE', message: `no key ${keyLabel}` } as const)
          : ({ ok: true, signature: sign('sha256', tbs, key) } as const);
      });
      socket.write(encodeResults(id, results));
    }
  });
  socket.on('error', () => undefined);
});
process.on('message', (labelled: readonly [string, string][]) => {
  for (const [label, pem] of labelled) keys.set(label, createPrivateKey(pem));
  server.listen(path, () => process.send?.('ready'));
});
process.on('disconnect', () => process.exit(0));
