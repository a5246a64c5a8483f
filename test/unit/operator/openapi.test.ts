import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { openApiText } from '../../support/openapi-text.js';

test('docs/openapi.json is the table of routes; write it anew with bin/source.mjs test/support/write-openapi.ts', () => {
  const file = readFileSync(new URL('../../../docs/openapi.json', import.meta.url), 'utf8');
  expect(file).toBe(openApiText());
});

test('every operation names its roles and every body is an object that refuses unknown members', () => {
  const { paths } = JSON.parse(openApiText()) as { paths: Record<string, Record<string, Operation>> };
  const operations = Object.values(paths).flatMap((methods) => Object.values(methods));
  expect(operations.length).toBeGreaterThan(40);
  for (const operation of operations) {
    expect(operation['x-roles'].length).toBeGreaterThan(0);
    const schema = operation.requestBody?.content['application/json'].schema;
    if (schema) expect(schema.additionalProperties).toBe(false);
  }
});

interface Operation {
  readonly 'x-roles': readonly string[];
  readonly requestBody?: {
    readonly content: { readonly 'application/json': { readonly schema: { readonly additionalProperties?: boolean } } };
  };
}
