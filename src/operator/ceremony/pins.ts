import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { RandomBytes } from '../../platform/clock.js';
import { FemtoError } from '../../platform/errors.js';
import type { CeremonyFile } from './ceremony-file.js';
import { writeSecretFile } from './secret-file.js';

/** Who is there, and with what. */
type People = Pick<CeremonyFile, 'mode' | 'people'>;

export interface TokenPins {
  readonly userPin: string;
  readonly soPin: string;
}

/** 144 random bits as text. SoftHSM takes up to 255 characters; HSMs with shorter PINs are initialised by their own tools. */
const PIN_RANDOM_BYTES = 18;
const SHARE_CHARACTERS_MIN = 8;

/**
 * PINs of one token.
 *
 * Demo: random; the user PIN is kept as a 0600 file, the SO PIN is forgotten once used. Production: offline tokens have
 * the people's shares put together and nothing is written; the online token's user PIN is random in a 0600 file, because
 * its host must start without people.
 */
export function tokenPins(options: {
  file: People;
  token: string;
  isOnline: boolean;
  dataDir: string;
  random: RandomBytes;
  at: Date;
}): TokenPins {
  const { file, token, isOnline, dataDir, random, at } = options;
  const shares = file.mode === 'production' ? pinShares(file) : undefined;
  const soPin = shares?.soPin ?? randomPin(random);
  if (shares && !isOnline) return { userPin: shares.userPin, soPin };
  const userPin = randomPin(random);
  writeSecretFile(isOnline ? onlinePinFile(dataDir) : demoPinFile(dataDir, token), `${userPin}\n`, at);
  return { userPin, soPin };
}

/**
 * User PIN of a root's token at a later ceremony: the people's shares, or the demo's file.
 * @throws FemtoError NOT_FOUND when the demo's file is gone
 */
export function offlinePin(file: People, token: string, dataDir: string): string {
  if (file.mode === 'production') return pinShares(file).userPin;
  const path = demoPinFile(dataDir, token);
  if (existsSync(path)) return readFileSync(path, 'utf8').trim();
  throw new FemtoError('NOT_FOUND', `${path} is gone, and with it the way into ${token}; put the file back.`);
}

function demoPinFile(dataDir: string, token: string): string {
  return join(dataDir, 'secrets', 'ceremony', `${token}.pin`);
}

export function onlinePinFile(dataDir: string): string {
  return join(dataDir, 'secrets', 'token-online.pin');
}

function randomPin(random: RandomBytes): string {
  return random(PIN_RANDOM_BYTES).toString('base64url');
}

function pinShares(file: People): TokenPins {
  const shares = file.people.flatMap(({ present, pinShareFile }) =>
    present && pinShareFile ? readShare(pinShareFile) : [],
  );
  return {
    userPin: shares.map((share) => share.userPin).join(''),
    soPin: shares.map((share) => share.soPin).join(''),
  };
}

function readShare(path: string): TokenPins {
  if ((statSync(path).mode & 0o077) !== 0) {
    throw new FemtoError('BAD_REQUEST', `The PIN share ${path} is readable by others; run chmod 600 on it.`);
  }
  const [userPin, soPin] = readFileSync(path, 'utf8').split(/\r?\n/);
  if (!userPin || !soPin || userPin.length < SHARE_CHARACTERS_MIN || soPin.length < SHARE_CHARACTERS_MIN) {
    throw new FemtoError(
      'BAD_REQUEST',
      `The PIN share ${path} needs two lines of at least ${SHARE_CHARACTERS_MIN} characters.`,
    );
  }
  return { userPin, soPin };
}
