import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { certificatePem } from '../../../src/x509/certificate.js';
import { type FactoryServer, startFactoryServer } from '../../support/factory-server.js';
import { type FactoryWorld, MAKER, manifestRow, requestFor, startFactoryWorld } from '../../support/factory-world.js';

const run = promisify(execFile);
const UNITS = 64;

interface Line {
  readonly [name: string]: unknown;
}

describe('many bootstrap certificates in one call', () => {
  let world: FactoryWorld;
  let server: FactoryServer;
  let rows: { serialNumber: string; csr: string }[];

  beforeAll(async () => {
    world = await startFactoryWorld();
    server = await startFactoryServer(world);
    server.clientFiles('station', await world.addStation('station-bulk'));
    const units = Array.from({ length: UNITS }, (_, n) => manifestRow(n, 'BULK'));
    const jws = await world.signManifest({ batch: 'bulk', units });
    const { batchId } = await world.factory.submitManifest({ jws, dryRun: false });
    await world.factory.acceptManifest({ batchId: batchId ?? 0, actor: 'person:kim' });
    await world.factory.createCredential({
      name: 'cred-bulk',
      makerName: MAKER,
      batchName: 'bulk',
      site: 'Gumi 2',
      stationName: 'station-bulk',
      cidrs: ['127.0.0.0/8'],
      actor: 'person:kim',
    });
    rows = units.map(({ serialNumber }) => ({ serialNumber, csr: requestFor(serialNumber).csrDer.toString('base64') }));
    writeFileSync(join(server.dir, 'services.pem'), await servicesCas());
  });
  afterAll(async () => {
    expect(server.internal).toEqual([]);
    await server.close();
    await world.close();
  });

  const servicesCas = async (): Promise<string> => {
    const issuers = await world.issuers.all();
    return issuers.map(({ certificateDer }) => certificatePem(certificateDer)).join('');
  };
  const as = () => ['--cert', join(server.dir, 'station.pem'), '--key', join(server.dir, 'station.key')];
  const post = async (content: string, args: string[] = as()): Promise<{ status: number; lines: Line[] }> => {
    const file = join(server.dir, 'rows.ndjson');
    writeFileSync(file, content);
    const type = ['-H', 'content-type: application/x-ndjson', '--data-binary', `@${file}`];
    const { stdout } = await run(
      'curl',
      ['-sk', '-w', '%{http_code}', ...args, ...type, `${server.origin}/v1/factory/enrol/bulk`],
      { maxBuffer: 64 * 1024 * 1024 },
    );
    const status = Number(stdout.slice(-3));
    const texts = stdout.slice(0, -3).split('\n');
    return { status, lines: texts.filter((text) => text !== '').map((text) => JSON.parse(text) as Line) };
  };
  const ndjson = (some: readonly unknown[]): string => some.map((row) => `${JSON.stringify(row)}\n`).join('');
  const certificatesIn = (lines: readonly Line[]): Map<unknown, unknown> =>
    new Map(lines.filter((line) => 'certificate' in line).map((line) => [line['serialNumber'], line['certificate']]));

  test('each row stands alone: good ones are issued, bad ones say why, and all are counted', async () => {
    const stranger = { serialNumber: 'BULK-999999', csr: rows[0]?.csr };
    const other = requestFor('BULK-000001').csrPem;
    const mixed = [rows[0], stranger, rows[1], { serialNumber: 'bulk-000002' }, { ...rows[1], csr: other }, rows[2]];
    const { status, lines } = await post(`${ndjson(mixed)}hello\n`);
    expect(status).toBe(200);
    const byRow = new Map(lines.filter(({ row }) => row).map((line) => [line['row'], line]));
    expect([1, 6].map((row) => byRow.get(row)?.['status'])).toEqual([201, 201]);
    expect(byRow.get(2)).toMatchObject({ status: 403, code: 'NOT_ON_MANIFEST', serialNumber: 'BULK-999999' });
    expect(byRow.get(4)).toMatchObject({ status: 400, code: 'BAD_REQUEST' });
    expect(byRow.get(7)).toMatchObject({ status: 400, code: 'BAD_REQUEST', serialNumber: null });
    // One serial, two keys, at once: one of them has it.
    const twins = [byRow.get(3)?.['status'], byRow.get(5)?.['status']];
    expect(twins.sort()).toEqual([201, 409]);
    expect(lines.at(-1)).toEqual({ done: true, rows: 7, issued: 3, repeated: 0, refused: 4 });
    const refused = (await world.entries('request.refused')).map(({ body }) => body['code']);
    expect(refused.sort()).toEqual(['BAD_REQUEST', 'BAD_REQUEST', 'NOT_ON_MANIFEST', 'STATE_CONFLICT']);
  });

  test('the chain is said once, and every certificate verifies under it', async () => {
    const { lines } = await post(ndjson(rows.slice(2, 12)));
    const chains = lines.filter((line) => 'chain' in line);
    expect(chains).toHaveLength(1);
    writeFileSync(join(server.dir, 'chain.pem'), String(chains[0]?.['chain']));
    for (const [serial, certificate] of certificatesIn(lines)) {
      writeFileSync(join(server.dir, `${serial}.crt`), String(certificate));
      const said = await run('openssl', ['verify', '-x509_strict', '-CAfile', 'chain.pem', `${serial}.crt`], {
        cwd: server.dir,
      });
      expect(said.stdout).toBe(`${serial}.crt: OK\n`);
    }
  });

  test('the same rows again get the same certificates and take no quota', async () => {
    const used = async () => (await world.factory.credentials({})).find(({ name }) => name === 'cred-bulk')?.used;
    const first = await post(ndjson(rows.slice(12, 20)));
    const before = await used();
    const again = await post(ndjson(rows.slice(12, 20)));
    expect(again.lines.at(-1)).toEqual({ done: true, rows: 8, issued: 0, repeated: 8, refused: 0 });
    expect(certificatesIn(again.lines)).toEqual(certificatesIn(first.lines));
    expect(await used()).toBe(before);
  });

  test('nobody without a proved certificate gets past the first step, whatever the rows say', async () => {
    const { status, lines } = await post(ndjson(rows), []);
    expect([status, lines[0]?.['code']]).toEqual([403, 'DENIED']);
  });

  test.each([
    ['no rows', '\n\n', 400],
    ['1,001 rows', '{}\n'.repeat(1_001), 413],
    ['9 MiB', 'x'.repeat(9 * 1024 * 1024), 413],
  ])('%s are refused whole', async (_, content, status) => {
    expect(await post(content)).toMatchObject({ status, lines: [{ code: 'BAD_REQUEST' }] });
  });

  describe('femtopki factory enrol', () => {
    const CLI = ['--import', resolve('bin', 'ts-loader.mjs'), resolve('src', 'apps', 'femtopki.ts')];
    const command = (requests: string, out: string, ...more: string[]): string[] => [
      ...[...CLI, 'factory', 'enrol', requests, '--enrol-server', server.origin, '-o', 'json'],
      ...['--cert', 'station.pem', '--key', 'station.key', '--ca', 'services.pem', '--out', out, ...more],
    ];
    const cli = async (requests: string, out: string, ...more: string[]) => {
      const options = { cwd: server.dir, env: { ...process.env, NODE_OPTIONS: '' } };
      const ended = await run(process.execPath, command(requests, out, ...more), options).catch(
        (failed: { code: number; stdout: string; stderr: string }) => failed,
      );
      const code = 'code' in ended ? ended.code : 0;
      const text = ended.stdout.trim();
      return { code, json: (text === '' ? {} : JSON.parse(text)) as Line, stderr: ended.stderr };
    };
    const results = (out: string): Line[] => {
      const texts = readFileSync(join(server.dir, out), 'utf8').trim().split('\n');
      return texts.map((text) => JSON.parse(text) as Line);
    };

    test('NDJSON: every unit has its certificate; the same command again asks for none', async () => {
      writeFileSync(join(server.dir, 'shift.ndjson'), ndjson(rows.slice(20, 40)));
      const first = await cli('shift.ndjson', 'shift.out', '--certs', 'certs');
      expect(first).toMatchObject({ code: 0, json: { rows: 20, issued: 20, refused: 0, doneBefore: 0 } });
      const file = join(server.dir, 'certs', `${rows[20]?.serialNumber}.pem`);
      expect(readFileSync(file, 'utf8').match(/BEGIN CERTIFICATE/g)).toHaveLength(3);
      const again = await cli('shift.ndjson', 'shift.out');
      expect(again).toMatchObject({ code: 0, json: { rows: 20, issued: 0, repeated: 0, doneBefore: 20 } });
    });

    test('a results file that was cut in the middle of a line goes on from there', async () => {
      const whole = readFileSync(join(server.dir, 'shift.out'), 'utf8');
      truncateSync(join(server.dir, 'shift.out'), whole.lastIndexOf('\n', whole.length - 2) + 40);
      const resumed = await cli('shift.ndjson', 'shift.out');
      expect(resumed).toMatchObject({ code: 0, json: { issued: 0, repeated: 1, doneBefore: 19 } });
    });

    test('CSV beside its CSR files: refused rows are reported, the exit code says so, and the rest is done', async () => {
      mkdirSync(join(server.dir, 'csrs'));
      const units = rows.slice(40, 44);
      for (const { serialNumber, csr } of units.slice(0, 2)) {
        writeFileSync(join(server.dir, 'csrs', `${serialNumber}.csr`), Buffer.from(csr, 'base64'));
      }
      const lines = units.map(
        ({ serialNumber, csr }, n) => `${serialNumber},${n < 2 ? `csrs/${serialNumber}.csr` : csr}`,
      );
      writeFileSync(
        join(server.dir, 'shift.csv'),
        `serialNumber,csr\n${lines.join('\n')}\nBULK-999998,${rows[0]?.csr}\n`,
      );
      const said = await cli('shift.csv', 'csv.out');
      const refusals = [{ code: 'NOT_ON_MANIFEST', units: 1 }];
      expect(said).toMatchObject({ code: 7, json: { rows: 5, issued: 4, refused: 1, refusals } });
      expect(results('csv.out')).toContainEqual(expect.objectContaining({ serialNumber: 'BULK-999998', status: 403 }));
      // A directory of the same requests: nothing new is issued.
      expect(await cli('csrs', 'dir.out')).toMatchObject({ code: 0, json: { rows: 2, issued: 0, repeated: 2 } });
    });

    test('killed in the middle of a call, the next run completes it, and no unit has two certificates', async () => {
      writeFileSync(join(server.dir, 'late.ndjson'), ndjson(rows.slice(44, 60)));
      const child = spawn(process.execPath, command('late.ndjson', 'late.out'), {
        cwd: server.dir,
        env: { ...process.env, NODE_OPTIONS: '' },
        stdio: 'ignore',
      });
      const out = join(server.dir, 'late.out');
      while (child.exitCode === null && !(existsSync(out) && readFileSync(out, 'utf8').includes('\n')))
        await new Promise((wait) => setTimeout(wait, 5));
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      expect(await cli('late.ndjson', 'late.out')).toMatchObject({ code: 0, json: { rows: 16, refusals: [] } });
      const done = results('late.out').filter(({ certificate }) => certificate);
      expect(new Set(done.map(({ serialNumber }) => serialNumber)).size).toBe(16);
      const { rows: counts } = await world.db.pool.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM certificate c JOIN unit u ON u.id = c.unit_id
         WHERE u.serial_number LIKE 'BULK-%' GROUP BY u.id`,
      );
      expect(counts.every(({ n }) => n === 1)).toBe(true);
    });

    test('while the token is away rows cost no quota, and the command goes on by itself when it is back', async () => {
      const used = async () =>
        (await world.factory.credentials({})).find(({ name }) => name === 'cred-bulk')?.used ?? 0;
      const before = await used();
      writeFileSync(join(server.dir, 'away.ndjson'), ndjson(rows.slice(60)));
      world.breakSigner(true);
      const { lines } = await post(ndjson(rows.slice(60)));
      expect(lines.at(-1)).toEqual({ done: true, rows: 4, issued: 0, repeated: 0, refused: 4 });
      expect(lines[0]).toMatchObject({ status: 503, code: 'HSM_UNAVAILABLE' });
      const waiting = cli('away.ndjson', 'away.out');
      expect(await used()).toBe(before);
      world.breakSigner(false);
      expect(await waiting).toMatchObject({ code: 0, json: { issued: 4, refused: 0 } });
      expect(await used()).toBe(before + 4);
    });

    test('a server that another root vouches for is told from one that is away, and nothing is sent again and again', async () => {
      writeFileSync(join(server.dir, 'one.ndjson'), ndjson(rows.slice(0, 1)));
      const said = await cli('one.ndjson', 'one.out', '--ca', 'chain.pem');
      expect(said).toMatchObject({ code: 4, stderr: expect.stringContaining('check --ca') });
    });

    test('a file with a line that is no request names the line and sends nothing', async () => {
      writeFileSync(join(server.dir, 'bad.ndjson'), ndjson(rows.slice(0, 1)));
      appendFileSync(join(server.dir, 'bad.ndjson'), 'serial without csr\n');
      expect(await cli('bad.ndjson', 'bad.out')).toMatchObject({
        code: 2,
        stderr: expect.stringContaining('bad.ndjson line 2 is no request'),
      });
      expect(existsSync(join(server.dir, 'bad.out'))).toBe(false);
      expect((await cli('nothing.ndjson', 'bad.out')).code).toBe(3);
    });
  });
});
