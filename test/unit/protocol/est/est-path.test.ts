import { expect, test } from '@jest/globals';
import { readEstPath } from '../../../../src/protocol/est/est-path.js';

test.each([
  ['/.well-known/est/cacerts', { label: null, operation: 'cacerts' }],
  ['/.well-known/est/cacerts/', { label: null, operation: 'cacerts' }],
  ['/.well-known/est/garam-fc200/simpleenroll', { label: 'garam-fc200', operation: 'simpleenroll' }],
  ['/.well-known/est/garam-fc200/simpleenroll/', { label: 'garam-fc200', operation: 'simpleenroll' }],
  ['/.well-known/est', null],
  ['/.well-known/est/', null],
  ['/.well-known/est//cacerts', null],
  ['/.well-known/est/cacerts//', null],
  ['/.well-known/est/a/b/cacerts', null],
  ['/.well-known/est/GARAM/cacerts', null],
  ['/.well-known/est/%2e%2e/cacerts', null],
  ['/.well-known/est/../cacerts', null],
  ['/.well-known/estuary/cacerts', null],
  [`/.well-known/est/${'a'.repeat(300)}`, null],
])('EST path, RFC 7030 section 3.2.2: %s', (path, read) => {
  expect(readEstPath(path)).toEqual(read);
});
