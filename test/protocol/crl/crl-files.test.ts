/** What publishers expect of a place for CRLs, told once: the directory and the bucket both keep it. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import type { CrlFiles } from '../../../src/lifecycle/status/index.js';
import { readBucketCredentials } from '../../../src/protocol/crl/bucket-credentials.js';
import { makeCrlBucket } from '../../../src/protocol/crl/crl-bucket.js';
import { makeCrlDirectory } from '../../../src/protocol/crl/crl-directory.js';
import { crlOf } from '../../support/crl-bytes.js';
import { type S3Store, STORE_KEY, STORE_REGION, startS3Store } from '../../support/s3-store.js';

const NAME = 'device-ca-1';
const scratch = mkdtempSync(join(tmpdir(), 'fp-crl-files-'));
let store: S3Store;
let directories = 0;

beforeEach(async () => {
  store = await startS3Store();
});
afterEach(() => store.close());
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const bucket = (credentials = () => STORE_KEY): CrlFiles =>
  makeCrlBucket({ url: store.url, region: STORE_REGION, credentials });

interface Place {
  readonly files: CrlFiles;
  /** Puts bytes there behind its back. */
  plant(bytes: Buffer): void;
}

const PLACES: Readonly<Record<string, () => Place>> = {
  'a directory': () => {
    directories += 1;
    const directory = join(scratch, String(directories));
    return {
      files: makeCrlDirectory(directory),
      plant: (bytes) => writeFileSync(join(directory, `${NAME}.crl`), bytes),
    };
  },
  'a bucket': () => ({
    files: bucket(),
    plant: (body) => store.objects.set(`${NAME}.crl`, { body, etag: `"planted-${body.length}"`, headers: {} }),
  }),
};

describe.each(Object.entries(PLACES))('%s as a place for CRLs', (_what, open) => {
  test('holds nothing at first, then what was put there, byte for byte, each with a stamp of its own', async () => {
    const { files } = open();
    expect(await files.stamp(NAME)).toBeNull();
    expect(await files.newest(NAME)).toBeNull();
    const stamps: string[] = [];
    for (const number of [1, 2, 3]) {
      const der = crlOf(number);
      const stamp = await files.publish(NAME, der);
      expect(await files.stamp(NAME)).toBe(stamp);
      stamps.push(stamp);
      expect(await files.newest(NAME)).toMatchObject({ number: BigInt(number), der });
    }
    expect(new Set(stamps).size).toBe(3);
  });

  test('keeps parts and CAs apart', async () => {
    const { files } = open();
    const [whole, delta, other] = [crlOf(1), crlOf(2), crlOf(3)];
    await files.publish(NAME, whole);
    await files.publish(`${NAME}.delta`, delta);
    await files.publish('services-ca', other);
    expect((await files.newest(NAME))?.der).toEqual(whole);
    expect((await files.newest(`${NAME}.delta`))?.der).toEqual(delta);
    expect((await files.newest('services-ca'))?.der).toEqual(other);
  });

  test('shows a list of 20,000 entries whole', async () => {
    const { files } = open();
    const large = crlOf(9, 20_000);
    await files.publish(NAME, large);
    expect((await files.newest(NAME))?.der.equals(large)).toBe(true);
  });

  test('shows what is no CRL as none, and takes a CRL over it', async () => {
    const { files, plant } = open();
    await files.publish(NAME, crlOf(1));
    for (const bytes of [Buffer.from('not a CRL'), crlOf(5).subarray(0, 100), Buffer.alloc(0)]) {
      plant(bytes);
      expect(await files.newest(NAME)).toBeNull();
      await files.publish(NAME, crlOf(2));
      expect((await files.newest(NAME))?.number).toBe(2n);
    }
  });

  test('refuses names that lead elsewhere', async () => {
    const { files } = open();
    for (const name of ['../device-ca-1', 'a/b', '', 'device-ca-1.crl', 'device-ca-1?x=1', 'DEVICE']) {
      await expect(files.publish(name, crlOf(1))).rejects.toThrow(RangeError);
      await expect(files.newest(name)).rejects.toThrow(RangeError);
    }
  });
});

describe('a bucket that several hosts write', () => {
  test('never holds an older list after a newer one, whoever is late', async () => {
    const [one, other] = [bucket(), bucket()];
    await one.publish(NAME, crlOf(1));
    await other.publish(NAME, crlOf(3));
    await expect(one.publish(NAME, crlOf(2))).rejects.toMatchObject({
      code: 'STATE_CONFLICT',
      message: expect.stringContaining('holds number 3'),
    });
    expect((await one.newest(NAME))?.number).toBe(3n);
  });

  test.each([
    ['one lies there', 1],
    ['none does', undefined],
  ])('where %s, a list that was newer when it was looked at loses against one put meanwhile', async (_where, first) => {
    const [late, early] = [bucket(), bucket()];
    if (first !== undefined) await late.publish(NAME, crlOf(first));
    let isFirst = true;
    store.onRequest = async (method) => {
      // The slow host has looked, and its request is on the way.
      if (method === 'PUT' && isFirst) {
        isFirst = false;
        await early.publish(NAME, crlOf(3));
      }
      return undefined;
    };
    await expect(late.publish(NAME, crlOf(2))).rejects.toMatchObject({ code: 'RETRY_LATER' });
    await expect(late.publish(NAME, crlOf(2))).rejects.toMatchObject({ code: 'STATE_CONFLICT' });
    expect((await late.newest(NAME))?.number).toBe(3n);
  });

  test('gets each list in one request, with its type and the thirty seconds that caches may keep it', async () => {
    await bucket().publish(NAME, crlOf(1));
    expect(store.requests).toEqual([`HEAD ${NAME}.crl`, `PUT ${NAME}.crl`]);
    expect(store.objects.get(`${NAME}.crl`)?.headers).toEqual({
      'Content-Type': 'application/pkix-crl',
      'Cache-Control': 'max-age=30, public, no-transform, must-revalidate',
    });
    expect(store.refused).toEqual([]);
  });
});

describe('a store that refuses, breaks or lies', () => {
  test('each failure is RETRY_LATER in a sentence without the key', async () => {
    const files = bucket();
    const refusals = [
      [{ status: 403, code: 'AccessDenied' }, 'AccessDenied'],
      [{ status: 503, code: 'SlowDown' }, 'SlowDown'],
      [{ status: 507, code: `<${'x'.repeat(100_000)}>` }, 'HTTP 507'],
    ] as const;
    for (const [answer, word] of refusals) {
      store.onRequest = async (method) => (method === 'PUT' ? answer : undefined);
      await expect(files.publish(NAME, crlOf(1))).rejects.toMatchObject({
        code: 'RETRY_LATER',
        message: expect.stringContaining(word),
      });
    }
    await store.setAway(true);
    const error = await files.publish(NAME, crlOf(1)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: 'RETRY_LATER', message: expect.stringContaining('ECONNREFUSED') });
    expect(JSON.stringify(error) + String(error)).not.toContain(STORE_KEY.secretAccessKey);
    await store.setAway(false);
  });

  test('a wrong key is refused by the store and said so', async () => {
    const files = bucket(() => ({ ...STORE_KEY, secretAccessKey: 'wrong' }));
    await expect(files.publish(NAME, crlOf(1))).rejects.toMatchObject({
      message: expect.stringContaining('credentialsFile'),
    });
    expect(store.refused).toEqual(['the signature does not match']);
    expect(store.objects.size).toBe(0);
  });

  test('an object without end is not read to its end', async () => {
    const files = bucket();
    const body = Buffer.alloc(66 * 1_048_576);
    store.objects.set(`${NAME}.crl`, { body, etag: '"large"', headers: {} });
    await expect(files.newest(NAME)).rejects.toMatchObject({ message: expect.stringContaining('holds more than') });
  });
});

describe('the credentials file', () => {
  const path = join(scratch, 'store.json');
  const write = (text: string, mode = 0o600): void => {
    writeFileSync(path, text);
    chmodSync(path, mode);
  };

  test('is read anew each time, with a session token where there is one', () => {
    write(JSON.stringify(STORE_KEY));
    expect(readBucketCredentials(path)).toEqual(STORE_KEY);
    write(JSON.stringify({ ...STORE_KEY, sessionToken: 'short-lived' }));
    expect(readBucketCredentials(path)).toEqual({ ...STORE_KEY, sessionToken: 'short-lived' });
  });

  test.each([
    ['open to others', JSON.stringify(STORE_KEY), 0o640],
    ['no JSON', `secret=${STORE_KEY.secretAccessKey}`, 0o600],
    ['half of a pair', JSON.stringify({ secretAccessKey: STORE_KEY.secretAccessKey }), 0o600],
    ['with a name that nobody knows', JSON.stringify({ ...STORE_KEY, endpoint: 'x' }), 0o600],
    ['larger than any key', JSON.stringify({ ...STORE_KEY, sessionToken: 'x'.repeat(20_000) }), 0o600],
  ])('that is %s is refused by its path, never by what it holds', (_what, text, mode) => {
    write(text, mode);
    const refused = expect(() => readBucketCredentials(path));
    refused.toThrow(path);
    refused.not.toThrow(STORE_KEY.secretAccessKey);
  });
});
