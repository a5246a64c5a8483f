import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type GeoDatabases, openGeoDatabases } from '../../../src/platform/net/geo-databases.js';
import { ASNS, COUNTRIES, mmdb } from '../../support/mmdb.js';

const NOW = new Date('2026-11-25T09:00:00Z');
const daysAgo = (days: number): Date => new Date(NOW.getTime() - days * 86_400_000);
let dir: string;
let opened: GeoDatabases[] = [];
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'fp-geo-'));
});
afterAll(() => {
  for (const geo of opened) geo.close();
  opened = [];
  rmSync(dir, { recursive: true });
});

interface Open {
  geo: GeoDatabases;
  said: { file: string; usable: boolean; why: string }[];
}

async function open(files: { asnFile?: string; countryFile?: string }): Promise<Open> {
  const said: Open['said'] = [];
  const geo = await openGeoDatabases({
    ...files,
    ageMaxDays: 45,
    clock: { now: () => NOW },
    onChange: (change) => said.push(change),
  });
  opened.push(geo);
  return { geo, said };
}

/** As a careful operator does: written beside, then renamed. */
function put(name: string, entries: Parameters<typeof mmdb>[0], builtAt = daysAgo(3)): string {
  const file = join(dir, name);
  writeFileSync(`${file}.new`, mmdb(entries, { type: 'Test', builtAt }));
  renameSync(`${file}.new`, file);
  return file;
}

describe('the operator’s databases of addresses (NET-3)', () => {
  test('say the ASN and the country of IPv4 and IPv6 addresses, and which are not listed', async () => {
    const { geo, said } = await open({ asnFile: put('asn.mmdb', ASNS), countryFile: put('country.mmdb', COUNTRIES) });
    expect(geo.asn('198.51.100.7')).toEqual({ known: 64_496 });
    expect(geo.asn('203.0.113.127')).toEqual({ known: 64_500 });
    expect(geo.asn('203.0.113.128')).toEqual({ known: 64_509 });
    expect(geo.asn('2001:db8:1f:ffff::1')).toEqual({ known: 64_496 });
    expect(geo.country('203.0.113.200')).toEqual({ known: 'ZZ' });
    expect(geo.country('192.0.2.1')).toBe('unlisted');
    expect(geo.asn('2001:db8:20::1')).toBe('unlisted');
    expect(said).toEqual([]);
  });

  test('a missing, damaged or old file says nothing of any address, and that is told once', async () => {
    const damaged = join(dir, 'damaged.mmdb');
    writeFileSync(damaged, mmdb(ASNS, { type: 'Test', builtAt: NOW }).subarray(0, 200));
    const old = put('old.mmdb', COUNTRIES, daysAgo(46));
    const cases = [
      { files: { asnFile: join(dir, 'none.mmdb') }, why: /ENOENT/ },
      { files: { asnFile: damaged }, why: /cannot be read/ },
      { files: { countryFile: old }, why: /older than 45 days/ },
    ];
    for (const { files, why } of cases) {
      const { geo, said } = await open(files);
      await geo.reload();
      expect([geo.asn('198.51.100.7'), geo.country('198.51.100.7')]).toEqual(['unavailable', 'unavailable']);
      expect(said).toEqual([{ file: Object.values(files)[0], usable: false, why: expect.stringMatching(why) }]);
    }
  });

  test('a replaced file is read again without a restart, and a half-written one does not take its place', async () => {
    const file = put('moving.mmdb', COUNTRIES);
    const { geo, said } = await open({ countryFile: file });
    put('moving.mmdb', { '198.51.100.0/24': { country: { iso_code: 'JP' } } });
    await geo.reload();
    expect(geo.country('198.51.100.7')).toEqual({ known: 'JP' });
    writeFileSync(file, 'half of a f');
    await geo.reload();
    expect(geo.country('198.51.100.7')).toEqual({ known: 'JP' });
    put('moving.mmdb', COUNTRIES, daysAgo(46));
    await geo.reload();
    expect(geo.country('198.51.100.7')).toBe('unavailable');
    put('moving.mmdb', COUNTRIES, daysAgo(1));
    await geo.reload();
    expect(geo.country('198.51.100.7')).toEqual({ known: 'KR' });
    expect(said.map(({ usable }) => usable)).toEqual([false, true]);
  });
});
