import { describe, expect, test } from '@jest/globals';
import { checkOperation, endpointOf } from '../../../../src/protocol/cmp/endpoint.js';
import { type CmpBody, INFO_TYPE } from '../../../../src/x509/cmp/index.js';

describe('paths of CMP over HTTP (RFC 9811 section 3.3)', () => {
  test.each([
    ['/.well-known/cmp', null, null],
    ['/.well-known/cmp/', null, null],
    ['/.well-known/cmp/keyupdate', null, 'keyupdate'],
    ['/.well-known/cmp/keyupdate/', null, 'keyupdate'],
    ['/.well-known/cmp/p/fc-1', 'fc-1', null],
    ['/.well-known/cmp/p/fc-1/initialization', 'fc-1', 'initialization'],
    ['/.well-known/cmp/p', null, 'p'],
    ['/.well-known/cmp/p/a/b/c', null, ''],
    ['/.well-known/cmp/KeyUpdate', null, ''],
    ['/.well-known/cmp/p/%2e%2e/keyupdate', null, ''],
  ])('%s', (path, label, operation) => {
    expect(endpointOf(path)).toEqual({ label, operation });
  });
});

describe('the operation in the path and the body belong together (RFC 9483 section 6.1)', () => {
  const requests: Buffer[] = [];
  const genm = (...oids: string[]): CmpBody => ({ kind: 'genm', items: oids.map((oid) => ({ oid })) });
  const bodies: readonly [string, CmpBody][] = [
    ['initialization', { kind: 'ir', requests }],
    ['certification', { kind: 'cr', requests }],
    ['keyupdate', { kind: 'kur', requests }],
    ['pkcs10', { kind: 'p10cr', csrDer: Buffer.alloc(0) }],
    ['revocation', { kind: 'rr', details: [] }],
    ['getcacerts', genm(INFO_TYPE.caCerts)],
    ['getrootupdate', genm(INFO_TYPE.rootCaCert)],
    ['getcertreqtemplate', genm(INFO_TYPE.certReqTemplate)],
    ['getcrls', genm(INFO_TYPE.crlStatusList)],
  ];

  test.each(bodies)('%s takes its own body, certConf and pollReq, and nothing else', (operation, own) => {
    const at = (body: CmpBody) => () => checkOperation({ label: null, operation }, body);
    expect(at(own)).not.toThrow();
    expect(at({ kind: 'certConf', statuses: [] })).not.toThrow();
    expect(at({ kind: 'pollReq', certReqIds: [0] })).not.toThrow();
    for (const [other, body] of bodies) {
      if (other !== operation) expect(at(body)).toThrow(expect.objectContaining({ failInfo: 'badRequest' }));
    }
  });

  test.each(['nested', 'constructor', 'p', ''])('there is no operation %s', (operation) => {
    expect(() => checkOperation({ label: null, operation }, { kind: 'ir', requests })).toThrow('another kind');
  });

  test('without an operation every body is taken', () => {
    for (const [, body] of bodies) expect(() => checkOperation({ label: null, operation: null }, body)).not.toThrow();
  });
});
