import {
  buildPkiMessage,
  computeMac,
  directoryNameOf,
  type PkiHeader,
  type Protect,
  type ResponseBody,
} from '../../x509/cmp/index.js';
import type { CmpDeps, RaCredential } from './cmp-deps.js';
import type { MacSender } from './sender.js';

export interface Speech {
  readonly body: ResponseBody;
  /** Header of the message that is answered; absent where it could not be read. */
  readonly to: PkiHeader | undefined;
  /** Set where the caller proved a shared secret: its client has nothing else to check an answer by. */
  readonly mac: MacSender | null;
  /** Behind our own chain. */
  readonly extraCerts?: readonly Buffer[];
  readonly implicitConfirm?: boolean;
  /** An answer given before keeps its nonce. */
  readonly senderNonce?: Buffer;
}

export interface Spoken {
  readonly der: Buffer;
  readonly nonce: Buffer;
  readonly at: Date;
}

/** One answer of ours, protected. @see RFC 9483 section 3.1 */
export function speak(deps: Pick<CmpDeps, 'clock' | 'random'>, ra: RaCredential, speech: Speech): Spoken {
  const { to, body, implicitConfirm = false, extraCerts = [] } = speech;
  const at = deps.clock.now();
  const nonce = speech.senderNonce ?? deps.random(NONCE_OCTETS);
  const der = buildPkiMessage({
    header: {
      // The nearest version that both could speak.
      pvno: Math.min(Math.max(to?.pvno ?? PVNO_MIN, PVNO_MIN), PVNO_MAX),
      senderDer: directoryNameOf(ra.subjectDer),
      recipientDer: to?.senderDer ?? NULL_NAME,
      messageTime: at,
      ...(to?.transactionId === undefined ? {} : { transactionId: to.transactionId }),
      senderNonce: nonce,
      // Of the very message that is answered, after polling too: OpenSSL 3.0 takes no other (RFC 9483 section 4.4).
      ...(to?.senderNonce === undefined ? {} : { recipNonce: to.senderNonce }),
      ...(implicitConfirm ? { implicitConfirm } : {}),
    },
    body,
    protect: speech.mac === null ? protectByRa(ra) : protectByMac(speech.mac),
    extraCerts: [ra.certificateDer, ...ra.chain, ...extraCerts],
  });
  return { der, nonce, at };
}

function protectByRa(ra: RaCredential): Protect {
  return {
    kind: 'signature',
    algorithm: 'ecdsa-with-SHA256',
    senderKid: ra.keyIdentifier,
    sign: (protectedDer) => ra.sign(protectedDer),
  };
}

function protectByMac({ algorithm, macKey, reference }: MacSender): Protect {
  return {
    kind: 'mac',
    algorithmDer: algorithm.der,
    senderKid: Buffer.from(reference, 'latin1'),
    mac: (protectedDer) => computeMac(algorithm, macKey, protectedDer),
  };
}

const PVNO_MIN = 2;
const PVNO_MAX = 3;
const NONCE_OCTETS = 16;
/** directoryName with an empty RDNSequence. */
const NULL_NAME = Buffer.from('a4023000', 'hex');
