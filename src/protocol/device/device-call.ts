import type { IncomingMessage } from 'node:http';
import type { Enrolment, ProvedCredential, RefusalRecorder } from '../../lifecycle/enrolment/index.js';
import { asFemtoError, FemtoError } from '../../platform/errors.js';
import { pathOf } from '../mount.js';
import { clientAddress } from '../rest/client-address.js';
import { traceIdOf } from '../rest/problem.js';
import type { PeerReader } from './tls-peer.js';

/** What every protocol that units speak over TLS stands on. */
export interface DeviceCallDeps {
  readonly enrolment: Pick<Enrolment, 'authenticate'>;
  readonly peerOf: PeerReader;
  readonly recordRefusal: RefusalRecorder;
  /** A request that carried a private key: block what it exposed (KEY-6). Gets what came, logs nothing of it. */
  readonly blockExposedKeys: (upload: string | Buffer, actor: string) => Promise<void>;
  readonly trustedProxies: readonly string[];
  readonly onInternal: (error: unknown, traceId: string) => void;
}

export interface DeviceCall {
  readonly request: IncomingMessage;
  /** Path without its query. */
  readonly path: string;
  readonly address: string;
  /** Set once the peer is proved, so that a refusal afterwards is the unit's own. */
  credential: ProvedCredential | null;
}

/**
 * Runs one call. A refusal is on record before the caller hears of it; a failure of ours is told to `onInternal`.
 *
 * @param answer  does the work and writes the answer
 * @param refuse  writes the refusal in the protocol's own words
 */
export async function answerDeviceCall(
  deps: DeviceCallDeps,
  request: IncomingMessage,
  { answer, refuse }: { answer(call: DeviceCall): Promise<void>; refuse(error: FemtoError, traceId: string): void },
): Promise<void> {
  const traceId = traceIdOf(request);
  const path = pathOf(request);
  const address = clientAddress(request, deps.trustedProxies);
  const call: DeviceCall = { request, path, address, credential: null };
  try {
    await answer(call);
  } catch (thrown) {
    const error = asFemtoError(thrown);
    if (error.code === 'INTERNAL') deps.onInternal(thrown, traceId);
    const operation = path.slice(0, 64);
    const unitSerialNumber = call.credential?.unit.serialNumber ?? null;
    await deps
      .recordRefusal({ unitSerialNumber, operation, error, address, traceId })
      .catch((failure: unknown) => deps.onInternal(failure, traceId));
    refuse(comingBackSoon(error), traceId);
  }
}

/**
 * The unit at the other end of the connection.
 *
 * @throws FemtoError UNREGISTERED without a certificate, `facts.missing` then says so; DEVICE_LOST; else as
 *   Enrolment.authenticate
 */
export async function provedCaller(deps: DeviceCallDeps, call: DeviceCall): Promise<ProvedCredential> {
  const peer = deps.peerOf(call.request);
  if (peer === null || peer.certificateDer === null) {
    throw new FemtoError('UNREGISTERED', 'No certificate was shown; connect with the unit’s certificate and key.', {
      facts: { missing: 'client certificate' },
    });
  }
  const { certificateDer, chain, provedAt } = peer;
  const presented = { der: certificateDer, chain, provedAt, address: call.address };
  call.credential = await deps.enrolment.authenticate(presented);
  // Before its request is looked at: whoever has a lost unit hears what they hear whom no record knows (LST-3).
  if (call.credential.unit.state === 'LOST') {
    throw new FemtoError('DEVICE_LOST', 'The unit is reported lost; whoever asks here has it.');
  }
  return call.credential;
}

/** Does the work on an upload; where that holds a private key, the key is blocked before the refusal goes on. */
export async function blockingExposedKeys<T>(
  deps: DeviceCallDeps,
  upload: string | Buffer,
  credential: ProvedCredential,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (asFemtoError(thrown).code === 'KEY_BLOCKED') {
      await deps.blockExposedKeys(upload, `unit:${credential.unit.serialNumber}`);
    }
    throw thrown;
  }
}

/**
 * A token that went away is back within seconds, or the gate in front of it refuses cheaply: units may come again at once
 * (fault H1). Their own jitter spreads them.
 */
function comingBackSoon(error: FemtoError): FemtoError {
  return error.code === 'HSM_UNAVAILABLE' ? new FemtoError(error.code, error.message, { retryAfterSeconds: 1 }) : error;
}
