/**
 * What OpenSSL 3.0 has no option for, said to a running server by messages built for it: root updates, CRL lists, codes in
 * regToken under vendor certificates, PBMAC1 with other parameters.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readCertificate } from '../../src/x509/certificate.js';
import { INFO_TYPE } from '../../src/x509/cmp/index.js';
import { explicitTag, generalizedTime, sequence, tlv } from '../../src/x509/der.js';
import { OID } from '../../src/x509/oids.js';
import { pemBlocks } from '../../src/x509/pem.js';
import { readCrl } from '../../src/x509/read-crl.js';
import { cmpRequest, pbm, pbmac1, regToken, requestBody } from '../support/cmp-request.js';
import { followUp, type Holder, holderOf, type Talk, talkTo, wish } from '../support/cmp-talk.js';
import { startCmpWorld } from '../support/cmp-world.js';
import { type MakerLine, type MakerWorld, makerWorld } from './maker-world.js';

let world: MakerWorld;
let talk: Talk;
let line: MakerLine;
let holder: Holder;

beforeAll(async () => {
  world = makerWorld(await startCmpWorld());
  talk = talkTo(world.cmp);
  await world.addMaker('Garam Celltech', '0a01');
  line = await world.addLine({ maker: 'Garam Celltech', model: 'FC-200', dn: '/O=Garam Celltech', key: 'ec' });
  holder = holderOf((await world.cmp.activeUnit()).op);
});
afterAll(() => world.close());

const genm = async (oid: string, valueDer?: Buffer, path?: string) => {
  const body = requestBody.genm({ oid, ...(valueDer === undefined ? {} : { valueDer }) });
  const { said, message } = await talk.send(talk.message(holder, body), path === undefined ? {} : { path });
  return { said, item: message.body.kind === 'genp' ? message.body.items[0] : undefined };
};

describe('rootCaCert (RFC 9483 section 4.3.2)', () => {
  test('nothing is newer than the Access Root, asked for with and without it', async () => {
    const [root] = pemBlocks(readFileSync(`${world.cmp.world.dir}/access-root.pem`, 'utf8'));
    for (const old of [undefined, root?.der]) {
      const { said, item } = await genm(INFO_TYPE.rootCaCert, old, '/getrootupdate');
      expect([said, item]).toEqual(['genp', { oid: INFO_TYPE.rootCaKeyUpdate }]);
    }
  });
});

describe('crlStatusList (RFC 9483 section 4.3.4)', () => {
  let crlDer: Buffer;
  beforeAll(async () => {
    crlDer = world.pki.crl(world.pki.root({ subject: '/CN=stands for a Device CA' }), { number: 7 });
    const { thisUpdate, nextUpdate } = readCrl(crlDer);
    await world.cmp.world.db.pool.query(
      `INSERT INTO crl (issuer_id, number, this_update, next_update, entry_count, sha256, der, fence)
       SELECT id, 7, $1, $2, 0, sha256($3), $3, 1 FROM issuer WHERE kind = 'device-ca' AND subject_der = $4`,
      [thisUpdate, nextUpdate, crlDer, holder.issuerDer],
    );
  });
  const status = (source: Buffer, thisUpdate?: Date): Buffer =>
    sequence(sequence(source, ...(thisUpdate === undefined ? [] : [generalizedTime(thisUpdate)])));
  const byIssuer = (nameDer: Buffer): Buffer => explicitTag(1, sequence(explicitTag(4, nameDer)));
  const byUrl = (url: string): Buffer => explicitTag(0, explicitTag(0, tlv(0x86, Buffer.from(url))));

  test('the CRL of the named CA, by its name and by the address in its certificates', async () => {
    const url = /https?:\/\/[^"]+?\/crl\/[\w-]+\.crl/.exec(holder.der.toString('latin1'))?.[0] ?? '';
    for (const source of [byIssuer(holder.issuerDer), byUrl(url)]) {
      const { said, item } = await genm(INFO_TYPE.crlStatusList, status(source), '/getcrls');
      expect([said, item]).toEqual(['genp', { oid: INFO_TYPE.crls, valueDer: sequence(crlDer) }]);
    }
    expect((await genm(INFO_TYPE.currentCrl)).item).toEqual({ oid: INFO_TYPE.currentCrl, valueDer: crlDer });
  });

  test('nothing where the unit has it, or for a CA that is not ours', async () => {
    for (const asked of [status(byIssuer(holder.issuerDer), new Date()), status(byIssuer(holder.subjectDer))]) {
      expect((await genm(INFO_TYPE.crlStatusList, asked)).item).toEqual({ oid: INFO_TYPE.crls });
    }
  });
});

describe('a code in regToken, under a vendor certificate', () => {
  test('activates the unit that it was made for, in controls or in regInfo', async () => {
    for (const place of ['controls', 'regInfo'] as const) {
      const unit = await world.addUnit(line);
      const request = wish({ [place]: [regToken(await world.code(unit))] });
      const { said, certificateDer = Buffer.alloc(0) } = await ask(holderOf(unit.as), request);
      expect(said).toBe('ip accepted');
      expect(readCertificate(certificateDer).sanDns).toEqual([unit.fqdn]);
    }
  });

  test('is worth nothing under another unit’s vendor key, and nothing is held against the unit it is for', async () => {
    const [victim, thief] = [await world.addUnit(line), await world.addUnit(line)];
    const request = wish({ controls: [regToken(await world.code(victim))] });
    expect((await ask(holderOf(thief.as), request)).said).toBe('ip rejection notAuthorized');
    expect([await world.stateOf(victim), await world.stateOf(thief)]).toEqual(['BOOTSTRAPPED', 'BOOTSTRAPPED']);
    expect((await ask(holderOf(victim.as), request)).said).toBe('ip accepted');
  });

  test('a wrong one is a try only once pollReq showed the key again; five of those lock the grant', async () => {
    const unit = await world.addUnit(line);
    const by = holderOf(unit.as);
    const code = await world.code(unit);
    const wrong = () => ask(by, wish({ controls: [regToken('AAAA-BBBB-CCCC-DDDD')] }));
    for (let n = 0; n < 6; n++) expect((await wrong()).said).toBe('ip waiting');
    expect(await triesOf(unit)).toBe(0);
    for (let n = 1; n <= 5; n++) {
      const waiting = await wrong();
      const { said } = await talk.send(talk.message(by, requestBody.pollReq(0), followUp(waiting)));
      expect([said, await triesOf(unit)]).toEqual(['ip rejection notAuthorized', n]);
    }
    expect((await ask(by, wish({ controls: [regToken(code)] }))).said).toBe('ip rejection notAuthorized');
  });
});

describe('MACs that OpenSSL 3.0 does not make', () => {
  beforeAll(() =>
    world.cmp.world.core.models.set({
      ...{ makerName: line.maker, model: line.model, macAllowed: true, actor: 'person:kim' },
    }),
  );

  test.each<[string, () => Buffer]>([
    ['PBMAC1, HMAC with SHA-384', () => pbmac1({ hmac: OID.hmacWithSha384 })],
    ['PBMAC1, PBKDF2 with SHA-512', () => pbmac1({ prf: OID.hmacWithSha512 })],
    ['PBM, SHA-512 and HMAC with SHA-256', () => pbm({ owf: OID.sha512, hmac: OID.hmacWithSha256 })],
  ])('%s: a bootstrap certificate', async (_name, algorithm) => {
    const unit = await world.addManifested(line);
    const { reference, secret } = await world.cmp.first.factory.createMacSecret({
      unitId: unit.id,
      actor: 'person:kim',
    });
    const protect = { kind: 'mac', secret: Buffer.from(secret), reference, algorithmDer: algorithm() } as const;
    const { said } = await talk.send(cmpRequest({ body: requestBody.ir(wish()), protect }));
    expect(said).toBe('ip accepted');
    expect(await world.stateOf(unit)).toBe('BOOTSTRAPPED');
  });

  test.each<[string, () => Buffer]>([
    ['PBMAC1 whose PRF is SHA-1, by default', () => pbmac1({ prf: null })],
    ['PBM over SHA-1', () => pbm({ owf: OID.sha1 })],
    ['PBM of a million rounds', () => pbm({ rounds: 1_000_000 })],
    ['PBM with a salt of 4 octets', () => pbm({ salt: Buffer.alloc(4) })],
  ])('%s: badAlg', async (_name, algorithm) => {
    const protect = { kind: 'mac', secret: Buffer.from('x'), reference: 'x'.repeat(22), algorithmDer: pbm() } as const;
    const der = cmpRequest({ body: requestBody.ir(wish()), protect, header: { protectionAlg: algorithm() } });
    expect((await talk.send(der)).said).toBe('error rejection badAlg');
  });
});

async function triesOf({ id }: { id: number }): Promise<number> {
  const { rows } = await world.cmp.world.db.pool.query('SELECT tries FROM activation_grant WHERE unit_id = $1', [id]);
  return rows[0].tries;
}

function ask(by: Holder, request: Buffer) {
  return talk.send(talk.message(by, requestBody.ir(request), {}, { extraCerts: [by.der, line.ca.der] }));
}
