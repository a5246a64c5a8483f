import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { checkHeader } from '../../../../src/protocol/cmp/check-header.js';
import { CmpFault, readPkiMessage } from '../../../../src/x509/cmp/index.js';
import { cmpRequest, type RequestHeader, requestBody } from '../../../support/cmp-request.js';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const GENM = requestBody.genm();

/** The failInfo that a message with this header gets; null where it passes. */
function fault(header: RequestHeader, { body = GENM, operation = null as string | null } = {}): string | null {
  const message = readPkiMessage(cmpRequest({ body, header, protect: { kind: 'signature', key } }));
  try {
    checkHeader(message, { label: null, operation });
    return null;
  } catch (thrown) {
    if (thrown instanceof CmpFault) return thrown.failInfo;
    throw thrown;
  }
}

describe('header rules, row by row (RFC 9483 sections 3.1 and 3.5)', () => {
  test('row 1: a transactionID', () => {
    expect(fault({})).toBeNull();
    expect(fault({ transactionId: null })).toBe('badDataFormat');
  });

  test.each([
    [1, 'unsupportedVersion'],
    [2, null],
    [3, null],
    [4, 'unsupportedVersion'],
  ])('row 2: pvno %s', (pvno, failInfo) => {
    expect(fault({ pvno })).toBe(failInfo);
  });

  test.each([5, 6, 9, 13, 15, 16, 17, 18, 20])('row 3: body %s is served by nobody here', (tag) => {
    expect(fault({}, { body: requestBody.other(tag, Buffer.from('3000', 'hex')) })).toBe('badRequest');
  });

  test('row 3: a body at the path of another', () => {
    expect(fault({}, { operation: 'keyupdate' })).toBe('badRequest');
  });

  test.each([
    [null, 'badSenderNonce'],
    [randomBytes(15), 'badSenderNonce'],
    [randomBytes(16), null],
    [randomBytes(32), null],
  ])('row 4: senderNonce %s', (senderNonce, failInfo) => {
    expect(fault({ senderNonce })).toBe(failInfo);
  });

  test('row 5: recipNonce never at the start, always afterwards', () => {
    const recipNonce = randomBytes(16);
    expect(fault({ recipNonce })).toBe('badRecipientNonce');
    expect(fault({ recipNonce }, { body: requestBody.pollReq(0) })).toBeNull();
    expect(fault({}, { body: requestBody.pollReq(0) })).toBe('badRecipientNonce');
    expect(fault({}, { body: requestBody.certConf({}) })).toBe('badRecipientNonce');
  });

  test('row 7 is ours to leave out: no messageTime is wrong', () => {
    for (const year of [1970, 2099]) expect(fault({ messageTime: new Date(Date.UTC(year, 0)) })).toBeNull();
  });

  test('of several faults the first row is told', () => {
    expect(fault({ transactionId: null, pvno: 9, senderNonce: null })).toBe('badDataFormat');
    expect(fault({ pvno: 9, senderNonce: null })).toBe('unsupportedVersion');
    expect(fault({ senderNonce: null, recipNonce: randomBytes(16) })).toBe('badSenderNonce');
  });
});
