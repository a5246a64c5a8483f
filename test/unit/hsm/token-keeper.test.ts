import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { PinMarker } from '../../../src/platform/hsm/pin-marker.js';
import { KeyRefusal, TokenFault, type TokenKey } from '../../../src/platform/hsm/token.js';
import { faultAction, retryDelayMs } from '../../../src/platform/hsm/token-fault.js';
import { TokenKeeper } from '../../../src/platform/hsm/token-keeper.js';

const SIGNATURE = Buffer.alloc(64, 7);
const DIGEST = Buffer.alloc(32);

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'fp-keeper-'));
  jest.useFakeTimers();
});
afterEach(() => {
  jest.useRealTimers();
  rmSync(stateDir, { recursive: true });
});

/** A token whose next calls fail as told: `opens` and `signs` hold CK_RVs, 0 = works. */
function stubToken(faults: {
  opens?: number[];
  signs?: number[];
  refuse?: string;
  attach?: number[];
  silentMs?: () => number;
}) {
  const seen = {
    opened: 0,
    closed: 0,
    states: [] as string[],
    outcomes: [] as string[],
    refused: '',
    sessions: [] as string[],
  };
  const { opens = [], signs = [] } = faults;
  const marker = new PinMarker(stateDir);
  const threads = {
    count: 2,
    open: async (labels: readonly string[]) => {
      seen.opened += 1;
      const rv = opens.shift() ?? 0;
      if (rv !== 0) throw new TokenFault('C_Login', rv, 'stub');
      if (faults.refuse && labels.includes(faults.refuse)) throw new KeyRefusal(faults.refuse, 'stub');
      seen.sessions.push('opened');
      return labels.map(goodKey);
    },
    sign: async (_label: string, digests: readonly Buffer[]) => {
      const fault = signs.shift() ?? 0;
      return digests.map(() => (fault === 0 ? SIGNATURE : new TokenFault('C_Sign', fault, 'stub')));
    },
    close: async () => {
      seen.closed += 1;
      seen.sessions.push('closed');
    },
    silentMs: () => faults.silentMs?.() ?? 0,
  };
  const keeper = new TokenKeeper({
    threads,
    labels: ['ca'],
    turn: async () => (outcome) => void seen.outcomes.push(outcome),
    marker,
    onPinRefused: (fault) =>
      marker.set({ at: '2026-11-24T00:00:00Z', keyClass: 'ca', tokenLabel: 't', rv: fault.rv.toString(16) }),
    onOpen: () => undefined,
    onKeyRefused: (refusal) => {
      seen.refused = refusal.message;
    },
    onState: (state) => void seen.states.push(state),
    nowMs: () => Date.now(),
  });
  return { keeper, seen, marker };
}

function goodKey(label: string): TokenKey {
  const yes = {
    sensitive: true,
    alwaysSensitive: true,
    neverExtractable: true,
    local: true,
    token: true,
    private: true,
    sign: true,
  };
  const no = { extractable: false, signRecover: false, decrypt: false, unwrap: false, derive: false };
  return { label, curve: 'P-256', spki: Buffer.alloc(91), attributes: { ...yes, ...no } };
}

describe('faults of a session are healed without a word', () => {
  test.each([
    ['CKR_SESSION_HANDLE_INVALID (H2)', 0xb3],
    ['CKR_SESSION_CLOSED', 0xb0],
    ['CKR_OBJECT_HANDLE_INVALID, logged out elsewhere (H3)', 0x82],
    ['CKR_USER_NOT_LOGGED_IN (H3)', 0x101],
  ])('%s: one silent reopen, and the request succeeds', async (_name, rv) => {
    const { keeper, seen } = stubToken({ signs: [rv] });
    await keeper.start();
    expect(await keeper.sign('ca', [DIGEST, DIGEST])).toEqual([SIGNATURE, SIGNATURE]);
    expect(seen).toMatchObject({ opened: 2, closed: 1, outcomes: ['logged-in', 'logged-in'] });
    expect(seen.sessions).toEqual(['opened', 'closed', 'opened']);
    expect(keeper.state).toBe('ready');
  });

  test('what every thread reports at once is healed once', async () => {
    const { keeper, seen } = stubToken({ signs: [0xb3, 0xb3, 0xb3] });
    await keeper.start();
    const signed = await Promise.all([1, 2, 3].map(() => keeper.sign('ca', [DIGEST])));
    expect(signed).toEqual([[SIGNATURE], [SIGNATURE], [SIGNATURE]]);
    expect(seen).toMatchObject({ opened: 2, closed: 1 });
  });

  test('a fault that comes again at once is no session fault: it waits instead of opening in a loop', async () => {
    const { keeper, seen } = stubToken({ signs: [0xb3, 0xb3] });
    await keeper.start();
    expect(await keeper.sign('ca', [DIGEST])).toEqual([new TokenFault('C_Sign', 0xb3, 'stub')]);
    expect(keeper.state).toBe('waiting');
    expect(seen.opened).toBe(2);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(keeper.state).toBe('ready');
  });
});

describe('a device that is away is opened again with back-off (H6)', () => {
  test.each([
    ['CKR_DEVICE_ERROR', 0x30],
    ['CKR_DEVICE_REMOVED', 0x32],
    ['CKR_TOKEN_NOT_PRESENT', 0xe0],
    ['CKR_SESSION_COUNT', 0xb1],
    ['CKR_GENERAL_ERROR', 0x05],
  ])('%s: tries after 1, 2, 4 s, never in a loop', async (_name, rv) => {
    const { keeper, seen } = stubToken({ opens: [rv, rv, rv] });
    await keeper.start();
    const openedAfter: number[] = [];
    for (const ms of [999, 1, 1_999, 1, 3_999, 1]) {
      await jest.advanceTimersByTimeAsync(ms);
      openedAfter.push(seen.opened);
    }
    expect(openedAfter).toEqual([1, 2, 2, 3, 3, 4]);
    expect(keeper.state).toBe('ready');
    expect(seen.outcomes).toEqual(['failed', 'failed', 'failed', 'logged-in']);
  });

  test('the back-off ends at 30 s, but a request five seconds after the last try opens it at once', async () => {
    expect([0, 1, 2, 3, 4, 5, 6, 99].map(retryDelayMs)).toEqual([
      1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
    ]);
    const { keeper, seen } = stubToken({ opens: [0x30, 0x30, 0x30, 0x30] });
    await keeper.start();
    await jest.advanceTimersByTimeAsync(7_000);
    expect(seen.opened).toBe(4);
    await jest.advanceTimersByTimeAsync(4_999);
    keeper.tryOnDemand();
    expect(seen.opened).toBe(4);
    await jest.advanceTimersByTimeAsync(1);
    keeper.tryOnDemand();
    await jest.advanceTimersByTimeAsync(0);
    expect(seen.opened).toBe(5);
    expect(keeper.state).toBe('ready');
  });
});

describe('a PIN is tried once (H5, H6)', () => {
  test.each([
    ['incorrect', 0xa0],
    ['expired', 0xa3],
    ['locked', 0xa4],
  ])('%s: marker set, no other try until a person removes it', async (_name, rv) => {
    const { keeper, seen, marker } = stubToken({ opens: [rv] });
    await keeper.start();
    expect(faultAction(rv)).toBe('stop');
    await jest.advanceTimersByTimeAsync(3_600_000);
    expect(seen).toMatchObject({ opened: 1, outcomes: ['pin-refused'] });
    expect(existsSync(marker.path)).toBe(true);
    const [refused] = await keeper.sign('ca', [DIGEST]);
    expect(String(refused)).toContain('the token is pin-refused');
    expect(seen.opened).toBe(1);
    rmSync(marker.path);
    await jest.advanceTimersByTimeAsync(1_000);
    expect(keeper.state).toBe('ready');
  });

  test('a marker left by another class stops this one before its first try', async () => {
    const { keeper, seen, marker } = stubToken({});
    marker.set({ at: '2026-11-24T00:00:00Z', keyClass: 'audit', tokenLabel: 't', rv: 'a0' });
    await keeper.start();
    expect(seen.opened).toBe(0);
    expect(keeper.state).toBe('pin-refused');
  });
});

test('a call that is out for more than two seconds makes the token silent until it comes back', async () => {
  let silentMs = 0;
  const { keeper } = stubToken({ silentMs: () => silentMs });
  await keeper.start();
  expect(keeper.isSilent).toBe(false);
  silentMs = 2_001;
  expect(keeper.isSilent).toBe(true);
  silentMs = 0;
  expect(keeper.isSilent).toBe(false);
});

test('a refused key is handed to the process, which ends; it is not tried again', async () => {
  const { keeper, seen } = stubToken({ refuse: 'ca' });
  await keeper.start();
  await jest.advanceTimersByTimeAsync(60_000);
  expect(seen).toMatchObject({ opened: 1, closed: 1, refused: 'Key "ca" is refused: stub' });
});
