import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { endpointOf } from '../../../src/protocol/cmp/endpoint.js';
import { serveMessage } from '../../../src/protocol/cmp/serve-message.js';
import { type CmpBody, protectionOf, readPkiMessage, verifySignatureProtection } from '../../../src/x509/cmp/index.js';
import { CMP_DER_LIMITS } from '../../../src/x509/cmp/limits.js';
import type { FuzzTarget } from '../fuzz-target.js';
import { mutate } from '../mutate.js';
import { passesGate } from '../passes-gate.js';
import { bendField } from '../tree.js';
import { protectAnew, proveAnew, withBodyOf } from './oracle.js';
import { fuzzRooms } from './rooms.js';
import { type CmpSeed, cmpSeeds } from './seeds.js';
import { RA, RA_SPKI } from './world.js';

/**
 * The CMP server's own use-case, from bytes to bytes, with rooms that only look whether they may be reached. Inputs are
 * valid messages of every kind, and what OpenSSL's authors recorded, bent byte by byte and field by field.
 */
export function cmpTarget(seeds: readonly CmpSeed[] = [...cmpSeeds(), ...recordedSeeds()]): FuzzTarget {
  const rooms = fuzzRooms();
  const outcomes = new Map<string, number>();
  let current = seeds[0] ?? none();
  let sequenceNumber = 0;
  return {
    outcomes,
    seed: (random) => {
      current = seeds[random(seeds.length)] ?? none();
      return current.der;
    },
    mutate: (input, random) =>
      random(2) === 0 ? mutate(input, random) : bendField(input, (seeds[random(seeds.length)] ?? current).der, random),
    resign: (bent, random) => {
      const ours = current.under === undefined ? bent : withBodyOf(current.under, bent);
      return protectAnew(random(2) === 0 ? ours : provenAnew(ours, current), current.key);
    },
    judge: async (input) => {
      if (!passesGate(input, CMP_DER_LIMITS)) return 'DER gate';
      const reached = rooms.begin(input, current);
      const { faults } = reached;
      sequenceNumber += 1;
      const call = {
        der: input,
        endpoint: endpointOf(current.path),
        address: '192.0.2.7',
        traceId: `fuzz-${sequenceNumber}`,
      };
      const answer = readPkiMessage(await serveMessage(rooms.deps, RA, call));
      const isByMac = protectionOf(answer).kind === 'mac';
      if (!isByMac && !verifySignatureProtection(answer, RA_SPKI)) faults.push('an answer is not protected by us');
      const outcome = outcomeOf(answer.body);
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      if (faults.length > 0) throw new Error(`${current.name}: ${faults.join('; ')}`);
      if (reached.sender || isByMac) return GRANTS.test(outcome) ? 'accepted' : 'policy';
      return reached.wasRead ? 'protection' : 'structure';
    },
  };
}

/** What an answer says, in the words of the standard. */
function outcomeOf(body: CmpBody): string {
  switch (body.kind) {
    case 'ip':
    case 'cp':
    case 'kup': {
      const status = body.responses[0]?.status;
      return `${body.kind} ${status?.failInfo[0] ?? status?.status}`;
    }
    case 'rp':
      return `rp ${body.statuses[0]?.failInfo[0] ?? body.statuses[0]?.status}`;
    case 'error':
      return `error ${body.status.failInfo[0] ?? body.status.status}`;
    default:
      return body.kind;
  }
}

const GRANTS = /^(?:(?:ip|cp|kup|rp) (?:accepted|grantedWithMods)|genp|pkiConf)$/;

/** Half of what is protected anew has its proof of possession made anew, too. */
function provenAnew(bent: Buffer, { newKey }: CmpSeed): Buffer {
  try {
    return proveAnew(bent, newKey);
  } catch {
    return bent; // bodies without a request, or bent so that there is none
  }
}

const CORPUS = fileURLToPath(new URL('../../../../shared/corpora/openssl/', import.meta.url));
const FOLDERS = [
  'fuzz/corpora/cmp',
  'test/recipes/65-test_cmp_protect_data',
  'test/recipes/65-test_cmp_server_data',
  'test/recipes/65-test_cmp_vfy_data',
];

/** Whole messages that OpenSSL's tests and fuzzers left. Their keys are strangers here; what is inside comes in under ours, too. */
function recordedSeeds(): CmpSeed[] {
  if (!existsSync(CORPUS)) {
    process.stderr.write('SKIP: no recorded messages of OpenSSL, ../shared/corpora/openssl is not here\n');
    return [];
  }
  const [like] = cmpSeeds();
  const files = FOLDERS.flatMap((folder) =>
    readdirSync(join(CORPUS, folder)).map((name) => join(CORPUS, folder, name)),
  );
  const read = files.flatMap((file) => {
    const der = readFileSync(file);
    return like !== undefined && passesGate(der, CMP_DER_LIMITS) ? [{ ...like, name: file, der, under: like.der }] : [];
  });
  return read.slice(0, RECORDED_MAX);
}

/** Fewer than our own, which alone get through protection. */
const RECORDED_MAX = 40;

function none(): never {
  throw new Error('there is no seed');
}
