/**
 * The key ceremony: three offline roots, the online CAs, their OCSP and audit keys, all generated in tokens; certificates,
 * root CRLs, the signer's file, and a transcript signed by the audit key. One reviewed file is its only input.
 *
 * Order matters: keys of the online token first, then the roots sign them and are closed, then the online CAs certify
 * their OCSP signers and the audit key. A root's token is open only while it signs. hierarchy.json is written last: while
 * it is missing the ceremony has not happened, and once it is there it never happens again.
 */
import { existsSync } from 'node:fs';
import { FemtoError } from '../../platform/errors.js';
import { hierarchyPath } from '../../platform/hsm/hierarchy.js';
import { Ceremony, type CeremonyDeps, type CeremonyOptions, type CeremonyOutcome } from './ceremony.js';
import { type CeremonyFile, checkPeople, readCeremonyFile } from './ceremony-file.js';
import { prepareTokenPlaces } from './token-places.js';

export type { CeremonyDeps, CeremonyOptions, CeremonyOutcome } from './ceremony.js';

/**
 * @throws FemtoError STATE_CONFLICT when this data directory has a hierarchy; APPROVAL_REQUIRED when people are missing;
 *   BAD_REQUEST for the file; TokenFault and KeyRefusal from the token
 */
export function runCeremony(deps: CeremonyDeps, options: CeremonyOptions): CeremonyOutcome {
  const { file, sha256Hex } = acceptedFile(options);
  const now = deps.clock.now();
  const ceremony = new Ceremony(deps, options, file, now);
  const step = stepper(deps);

  step('prepare the tokens');
  const places = prepareTokenPlaces(options.dataDir, options.module, now);
  step('initialise the online token and generate the CA, OCSP and audit keys in it');
  const onlinePins = ceremony.generateOnlineKeys(places);
  step('generate the three roots, each in a token of its own; sign their CAs and CRLs');
  ceremony.signRoots(places);
  step('certify the OCSP signers and the audit key');
  ceremony.certifyOnline(places, onlinePins, (session) => {
    step('write certificates, CRLs and the signed transcript');
    ceremony.writeEverything(session, places, sha256Hex);
  });
  return ceremony.outcome();
}

const STEPS = 5;

function stepper({ onStep }: CeremonyDeps): (text: string) => void {
  let number = 0;
  return (text) => {
    number += 1;
    onStep({ number, of: STEPS, text });
  };
}

function acceptedFile(options: CeremonyOptions): { file: CeremonyFile; sha256Hex: string } {
  if (existsSync(hierarchyPath(options.dataDir))) {
    throw new FemtoError(
      'STATE_CONFLICT',
      `${options.dataDir} has its CA hierarchy already; a ceremony never overwrites one.`,
    );
  }
  const { file, sha256Hex } = readCeremonyFile(options.file);
  if (file.mode !== options.mode) {
    throw new FemtoError(
      'BAD_REQUEST',
      `The ceremony file is for ${file.mode}, this installation runs as ${options.mode}; use the right file.`,
    );
  }
  const { operator = file.operator, realm = file.realm } = options;
  if (file.mode === 'production' && (operator !== file.operator || realm !== file.realm)) {
    throw new FemtoError(
      'BAD_REQUEST',
      'Operator or realm of femtopki.yaml differ from the reviewed ceremony file; make them equal.',
    );
  }
  checkPeople(file);
  return { file: { ...file, operator, realm }, sha256Hex };
}
