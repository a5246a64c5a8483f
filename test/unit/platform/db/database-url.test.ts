import { describe, expect, test } from '@jest/globals';
import { parseDatabaseUrl } from '../../../../src/platform/db/database-url.js';

describe('a PostgreSQL URL', () => {
  test.each([
    ['postgresql://femtopki@db.internal/femtopki', [['db.internal', 5432]]],
    ['postgres://u:p%40w@db.internal:6000/x?sslmode=require', [['db.internal', 6000]]],
    ['postgresql://femtopki@localhost/femtopki?host=%2Frun%2Fdb', [['/run/db', 5432]]],
    ['postgresql:///femtopki', [['localhost', 5432]]],
  ])('that names one server is used as it stands: %s', (text, places) => {
    expect(parseDatabaseUrl(text)).toEqual({ url: text, places: places.map(([host, port]) => ({ host, port })) });
  });

  test.each([
    [
      'postgresql://femtopki@db1,db2:5433,[2001:db8::1]:5434/femtopki?sslmode=verify-full',
      'postgresql://femtopki@db1/femtopki?sslmode=verify-full',
      [
        ['db1', 5432],
        ['db2', 5433],
        ['2001:db8::1', 5434],
      ],
    ],
    [
      'postgresql://femtopki@localhost/femtopki?host=%2Frun%2Fa,%2Frun%2Fb&port=5433',
      'postgresql://femtopki@localhost/femtopki?host=%2Frun%2Fa&port=5433',
      [
        ['/run/a', 5433],
        ['/run/b', 5433],
      ],
    ],
    [
      'postgresql://femtopki@localhost/femtopki?host=a,b&port=1,2',
      'postgresql://femtopki@localhost/femtopki?host=a&port=1',
      [
        ['a', 1],
        ['b', 2],
      ],
    ],
  ])('names several servers as libpq writes them: %s', (text, url, places) => {
    expect(parseDatabaseUrl(text)).toEqual({ url, places: places.map(([host, port]) => ({ host, port })) });
  });

  test.each([
    'mysql://a/b',
    'db.internal/femtopki',
    'postgresql://a:0/b',
    'postgresql://a,b:99999/x',
    'postgresql://a:b:c,d/x',
    `postgresql://${'a,'.repeat(8)}a/x`,
  ])('is refused in a sentence: %s', (text) => {
    expect(() => parseDatabaseUrl(text)).toThrow(/^(must|names|has) /);
  });
});
