import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import {
  CMP_BYTES_MAX,
  CmpFault,
  EXTRA_CERTS_MAX,
  INFO_TYPE,
  type PkiMessage,
  readPkiMessage,
} from '../../../../src/x509/cmp/index.js';
import {
  bitString,
  explicitTag,
  integer,
  nullValue,
  octetString,
  oid,
  sequence,
  utf8String,
} from '../../../../src/x509/der.js';
import {
  certProfile,
  cmpRequest,
  IMPLICIT_CONFIRM,
  type RequestParts,
  requestBody,
} from '../../../support/cmp-request.js';
import { recordedMessages } from './recorded-messages.js';

const { privateKey: key } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const GENM = requestBody.genm({ oid: INFO_TYPE.caCerts });

const message = (parts: Partial<RequestParts> = {}): Buffer =>
  cmpRequest({ body: GENM, protect: { kind: 'signature', key }, ...parts });
const read = (parts: Partial<RequestParts> = {}): PkiMessage => readPkiMessage(message(parts));

function faultOf(der: Buffer): CmpFault {
  try {
    readPkiMessage(der);
  } catch (thrown) {
    if (thrown instanceof CmpFault) return thrown;
    throw thrown;
  }
  throw new Error('the message was read');
}

describe('limits of a PKIMessage', () => {
  const filler = (bytes: number): Buffer => sequence(octetString(Buffer.alloc(bytes)));

  test('64 KiB is read, one byte more is not, and the answer still knows the transaction', () => {
    const transactionId = Buffer.alloc(16, 5);
    const protect = { kind: 'none' } as const;
    const sized = (bytes: number): Buffer =>
      message({ protect, header: { transactionId, senderNonce: Buffer.alloc(16) }, extraCerts: [filler(bytes)] });
    const rest = CMP_BYTES_MAX - sized(60_000).length;
    const largest = sized(60_000 + rest);
    expect(largest).toHaveLength(CMP_BYTES_MAX);
    expect(readPkiMessage(largest).extraCerts).toHaveLength(1);
    const fault = faultOf(sized(60_001 + rest));
    expect(fault.failInfo).toBe('badDataFormat');
    expect(fault.text).toContain('larger than 65536 bytes');
    expect(fault.header?.transactionId).toEqual(transactionId);
  });

  test('a message cut off behind its header still names its transaction; cut off within, it does not', () => {
    const transactionId = Buffer.alloc(16, 6);
    const der = message({ header: { transactionId } });
    const { headerDer } = readPkiMessage(der);
    const headerEnd = der.indexOf(headerDer) + headerDer.length;
    expect(faultOf(der.subarray(0, headerEnd + 3)).header?.transactionId).toEqual(transactionId);
    expect(faultOf(der.subarray(0, headerEnd - 3)).header).toBeUndefined();
    expect(faultOf(Buffer.alloc(0)).header).toBeUndefined();
    expect(faultOf(Buffer.from('hello')).header).toBeUndefined();
  });

  test('every shorter and longer form of one message is refused, none of them crashes', () => {
    const der = message({ extraCerts: [recordedMessages().protector] });
    for (let bytes = 0; bytes < der.length; bytes += 1) {
      expect(faultOf(der.subarray(0, bytes)).failInfo).toBe('badDataFormat');
    }
    expect(faultOf(Buffer.concat([der, Buffer.from([0x30, 0])])).failInfo).toBe('badDataFormat');
  });

  test('32 levels are read, more are not', () => {
    let nest = integer(0);
    for (let level = 0; level < 28; level += 1) nest = sequence(nest);
    const body = (inner: Buffer): Buffer => requestBody.genm({ oid: INFO_TYPE.caCerts, valueDer: inner });
    expect(read({ body: body(nest) }).body.kind).toBe('genm');
    expect(faultOf(message({ body: body(sequence(nest)) })).text).toContain('nests deeper than 32');
  });

  test('5,000 elements are the end', () => {
    const many = sequence(...Array.from({ length: 5_000 }, () => nullValue()));
    expect(faultOf(message({ extraCerts: [many] })).text).toContain('more than 5000 elements');
  });

  test('20 extraCerts are read, 21 are not, an empty list is none', () => {
    const certificates = Array.from({ length: EXTRA_CERTS_MAX }, () => filler(9));
    expect(read({ extraCerts: certificates }).extraCerts).toHaveLength(EXTRA_CERTS_MAX);
    expect(faultOf(message({ extraCerts: [...certificates, filler(9)] })).text).toContain('more than 20 certificates');
    const bare = message({ protect: { kind: 'none' } });
    const { headerDer, bodyDer } = readPkiMessage(bare);
    expect(readPkiMessage(sequence(headerDer, bodyDer, explicitTag(1, sequence()))).extraCerts).toEqual([]);
  });

  test.each([
    [
      '17 generalInfo entries',
      { generalInfo: Array.from({ length: 17 }, (_, arc) => sequence(oid(`1.3.6.1.5.5.7.4.${100 + arc}`))) },
    ],
    ['17 lines of freeText', { freeText: Array.from({ length: 17 }, () => 'x') }],
    ['a freeText longer than 1,024 characters', { freeText: ['x'.repeat(1_025)] }],
    ['a transactionID of 129 octets', { transactionId: Buffer.alloc(129) }],
    ['a nonce of 129 octets', { senderNonce: Buffer.alloc(129) }],
    ['two implicitConfirm', { generalInfo: [IMPLICIT_CONFIRM, IMPLICIT_CONFIRM] }],
    [
      'two profile names in one entry',
      { generalInfo: [sequence(oid(INFO_TYPE.certProfile), sequence(utf8String('a'), utf8String('b')))] },
    ],
    ['a profile name of 65 characters', { generalInfo: [certProfile('p'.repeat(65))] }],
    ['a sender that is no GeneralName', { sender: sequence() }],
    ['a sender whose name is no Name', { sender: explicitTag(4, integer(1)) }],
  ])('%s is badDataFormat', (_, header) => {
    expect(faultOf(message({ header })).failInfo).toBe('badDataFormat');
  });

  test.each([
    ['17 certificate requests', requestBody.ir(...Array.from({ length: 17 }, () => sequence()))],
    ['17 polls', requestBody.pollReq(...Array.from({ length: 17 }, () => 0))],
    ['a certReqId beyond 32 bits', requestBody.pollReq(2 ** 40)],
    ['a body that is no body', sequence(integer(1))],
    ['a status nobody defined', requestBody.certConf({ status: 7 })],
    [
      '17 certificate responses',
      requestBody.other(1, sequence(sequence(...Array.from({ length: 17 }, () => sequence())))),
    ],
    [
      'an error of more than 150 elements',
      requestBody.other(23, sequence(...Array.from({ length: 151 }, () => nullValue()))),
    ],
    ['a failInfo of 17 octets', requestBody.other(23, sequence(sequence(integer(2), bitString(Buffer.alloc(17, 1)))))],
    [
      'a certConf with such a failInfo',
      requestBody.other(
        24,
        sequence(sequence(octetString(), integer(0), sequence(integer(2), bitString(Buffer.alloc(17, 1))))),
      ),
    ],
    [
      'a certificate that is neither bare nor encrypted',
      requestBody.other(
        1,
        sequence(sequence(sequence(integer(0), sequence(integer(0)), sequence(explicitTag(2, sequence()))))),
      ),
    ],
    ['an error that is none', requestBody.other(23, sequence(octetString()))],
    ['an ip that is none', requestBody.other(1, octetString(Buffer.alloc(3)))],
    ['a pkiConf that is none', requestBody.other(19, octetString(Buffer.alloc(3)))],
    ['a body with two things inside', requestBody.other(21, Buffer.concat([sequence(), sequence()]))],
  ])('%s is badDataFormat', (_, body) => {
    expect(faultOf(message({ body })).failInfo).toBe('badDataFormat');
  });

  test('an encrypted certificate is none', () => {
    const keyPair = sequence(explicitTag(1, sequence()), explicitTag(0, sequence()));
    const body = requestBody.other(
      1,
      sequence(sequence(sequence(integer(0), sequence(integer(0)), keyPair, octetString()))),
    );
    expect(read({ body }).body).toEqual({
      kind: 'ip',
      caPubs: [],
      responses: [{ certReqId: 0, status: { status: 'accepted', text: [], failInfo: [] } }],
    });
  });

  test('an rr without issuer or serialNumber names no certificate, which the listener answers', () => {
    expect(read({ body: requestBody.rr({}) }).body).toEqual({ kind: 'rr', details: [{}] });
    expect(read({ body: requestBody.rr({ serial: Buffer.from([9]), reasonCode: 8 }) }).body).toEqual({
      kind: 'rr',
      details: [{ reasonCode: 8 }],
    });
  });
});
