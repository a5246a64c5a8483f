/** The nft sets: an inner address is in one for as long as its permit holds, and not a moment longer if we die. */
import { spawn } from 'node:child_process';
import { isIPv4, isIPv6 } from 'node:net';

const NFT_MS_MAX = 3_000;

/**
 * @typedef {'permit' | 'restricted'} Right
 * @typedef {ReturnType<typeof makePermits>} Permits
 */

/** @param {{ table: string, program: string }} nft */
export function makePermits({ table, program }) {
  /** Changes go to the kernel one after another, those that wait together in one transaction. */
  let waiting = /** @type {string[]} */ ([]);
  /** @type {Promise<void> | null} */
  let next = null;
  let running = Promise.resolve();

  /** @param {string[]} lines */
  const apply = (lines) => {
    waiting.push(...lines);
    next ??= running.then(async () => {
      const batch = waiting;
      waiting = [];
      next = null;
      await run(program, ['-f', '-'], `${batch.join('\n')}\n`);
    });
    running = next.catch(() => undefined);
    return next;
  };
  const without = (/** @type {string} */ address) =>
    setsOf(address).flatMap((set) => [
      // To delete what is not there would fail: it is added first.
      `add element inet ${table} ${set} { ${address} }`,
      `delete element inet ${table} ${set} { ${address} }`,
    ]);

  return {
    /** @param {string} address @param {Right} right @param {number} seconds */
    put: (address, right, seconds) => {
      const [permit, restricted] = setsOf(address);
      const set = right === 'permit' ? permit : restricted;
      // An element keeps its old timeout when it is added again: it is replaced, in one transaction.
      return apply([...without(address), `add element inet ${table} ${set} { ${address} timeout ${seconds}s }`]);
    },
    /** @param {readonly string[]} addresses */
    drop: (addresses) => (addresses.length === 0 ? Promise.resolve() : apply(addresses.flatMap(without))),
    /** Throws with a sentence where the ruleset is not loaded. */
    check: async () => {
      for (const set of ['permit4', 'permit6', 'restricted4', 'restricted6']) {
        const said = await run(program, ['list', 'set', 'inet', table, set], '').catch(() => '');
        if (!/flags timeout/.test(said)) {
          throw new Error(`nft has no set ${set} with timeouts in table inet ${table}; load femtopki.nft`);
        }
      }
    },
  };
}

/** @param {string} address @returns {[string, string]} */
function setsOf(address) {
  // Only what is an address in full gets into a ruleset.
  if (isIPv4(address)) return ['permit4', 'restricted4'];
  if (isIPv6(address)) return ['permit6', 'restricted6'];
  throw new Error(`"${address}" is no address`);
}

/** @param {string} program @param {string[]} args @param {string} input @returns {Promise<string>} */
function run(program, args, input) {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: NFT_MS_MAX });
    let out = '';
    let err = '';
    child.stdout.on('data', (part) => {
      out += part;
    });
    child.stderr.on('data', (part) => {
      err = (err + part).slice(0, 1_000);
    });
    child.once('error', fail);
    child.once('close', (code) => (code === 0 ? done(out) : fail(new Error(`nft: ${err.trim() || `exit ${code}`}`))));
    child.stdin.once('error', () => undefined);
    child.stdin.end(input);
  });
}
