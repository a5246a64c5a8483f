/**
 * One token thread. The first of a process initialises the module, logs in and finds the keys; the others have sessions of
 * their own under that login, no PIN, and neither initialise nor finalise: the login belongs to the application, a
 * session to one thread at a time (PKCS#11 v2.40 section 2.6). None of them sees a TBS.
 */
import { setPriority } from 'node:os';
import { parentPort, workerData } from 'node:worker_threads';
import pkcs11js from 'pkcs11js';
import { KeyRefusal } from './token.js';
import { asTokenFault, openPkcs11Token } from './token.pkcs11.js';
import type { ThreadAnswer, ThreadData, ThreadFault, ThreadOrder, TokenPlace } from './token-thread-messages.js';

interface Session {
  readonly module: pkcs11js.PKCS11;
  readonly handle: Buffer;
  readonly keys: ReadonlyMap<string, { handle: Buffer; digestBytes: number; signatureBytes: number }>;
  close(): void;
}

const SIGN_MECHANISM = { mechanism: pkcs11js.CKM_ECDSA };
const { progress, index } = workerData as ThreadData;
let session: Session | undefined;

/** The loop that reads, judges and answers goes first where cores are short. On Linux 0 is this thread, not the process. */
const NICE = 5;
// A sandbox may forbid it: then the loop waits for its turn like everybody.
attempt('setpriority', () => setPriority(0, NICE));

function open({ settings, labels }: ThreadOrder & { kind: 'open' }): ThreadAnswer {
  const token = openPkcs11Token(settings);
  try {
    const keys = labels.map((label) => {
      Atomics.add(progress, index, 1);
      return token.key(label);
    });
    const place = token.place();
    session = { module: token.module, handle: token.session, keys: keysOf(place), close: () => token.close() };
    return { kind: 'opened', keys, place };
  } catch (thrown) {
    token.close();
    throw thrown;
  }
}

function join({ place }: ThreadOrder & { kind: 'join' }): ThreadAnswer {
  // The same library in the same process: loading it again only counts, and its state is the one with the login.
  const module = new pkcs11js.PKCS11();
  module.load(place.modulePath);
  try {
    const handle = module.C_OpenSession(Buffer.from(place.slot), pkcs11js.CKF_SERIAL_SESSION);
    const close = (): void => {
      // A dead session is what closing is for.
      attempt('C_CloseSession', () => module.C_CloseSession(handle));
      module.close();
    };
    session = { module, handle, keys: keysOf(place), close };
    return { kind: 'done' };
  } catch (thrown) {
    module.close();
    throw thrown;
  }
}

/** Stops at the first fault: what is left is asked again once the fault has been seen to. */
function sign({ label, digests }: ThreadOrder & { kind: 'sign' }): ThreadAnswer {
  const key = session?.keys.get(label);
  if (!session || !key) throw new Error(`no session with the key ${label}`);
  const { module, handle } = session;
  const { digestBytes, signatureBytes } = key;
  const data = Buffer.from(digests.buffer, digests.byteOffset, digests.length);
  const signatures = Buffer.alloc((digests.length / digestBytes) * signatureBytes);
  let at = 0;
  const fault = attempt('C_Sign', () => {
    for (let from = 0; from < data.length; from += digestBytes) {
      module.C_SignInit(handle, SIGN_MECHANISM, key.handle);
      const place = signatures.subarray(at, at + signatureBytes);
      const { length } = module.C_Sign(handle, data.subarray(from, from + digestBytes), place);
      if (length !== signatureBytes) throw new Error(`the token returned a signature of ${length} bytes`);
      at += signatureBytes;
      Atomics.add(progress, index, 1);
    }
  });
  return { kind: 'signed', signatures: signatures.subarray(0, at), fault };
}

function close(): ThreadAnswer {
  session?.close();
  session = undefined;
  return { kind: 'done' };
}

function keysOf({ keys }: TokenPlace): Session['keys'] {
  return new Map(keys.map((key) => [key.label, { ...key, handle: Buffer.from(key.handle) }]));
}

function attempt(call: string, run: () => void): ThreadFault | undefined {
  try {
    run();
    return undefined;
  } catch (thrown) {
    return faultOf(call, thrown);
  }
}

function faultOf(call: string, thrown: unknown): ThreadFault {
  const { rv, detail, call: failed } = asTokenFault(call, thrown);
  return { call: failed, rv, detail };
}

function answerTo(order: ThreadOrder): ThreadAnswer {
  try {
    switch (order.kind) {
      case 'open':
        return open(order);
      case 'join':
        return join(order);
      case 'sign':
        return sign(order);
      case 'close':
        return close();
    }
  } catch (thrown) {
    if (thrown instanceof KeyRefusal) return { kind: 'refused', label: thrown.label, reason: thrown.reason };
    return { kind: 'failed', fault: faultOf(order.kind === 'join' ? 'C_OpenSession' : order.kind, thrown) };
  }
}

parentPort?.on('message', (order: ThreadOrder) => parentPort?.postMessage(answerTo(order)));
