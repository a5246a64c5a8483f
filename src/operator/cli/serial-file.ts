import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { FemtoError } from '../../platform/errors.js';

const LINE_CHARACTERS_MAX = 4_096;
const SERIAL = /^[A-Z0-9-]{4,32}$/;
/** What a column or a member may be called. */
const NAMES: ReadonlySet<string> = new Set(['serialnumber', 'serial_number', 'serial', 'unit']);

/**
 * Serial numbers of units from a file, read line by line: one a line, CSV with or without a head (the column `serialNumber`,
 * else the first one), or NDJSON (a string, or an object with `serialNumber`). Empty lines and `#` comments are skipped.
 *
 * @param countMax  more lines are refused, so that a wrong file ends early
 * @throws FemtoError BAD_REQUEST with the line's number; NOT_FOUND when there is no such file
 */
export async function readSerialFile(path: string, countMax: number): Promise<string[]> {
  const serials = new Set<string>();
  let column: number | null = null;
  let lineNumber = 0;
  const input = createReadStream(path, 'utf8');
  try {
    for await (const raw of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      lineNumber += 1;
      if (raw.length > LINE_CHARACTERS_MAX)
        throw badLine(lineNumber, `has more than ${LINE_CHARACTERS_MAX} characters`);
      const line = (lineNumber === 1 ? raw.replace(/^\ufeff/, '') : raw).trim();
      if (line === '' || line.startsWith('#')) continue;
      const cells = /^[{"]/.test(line) && isJson(line) ? [ofJson(line, lineNumber)] : cellsOf(line);
      if (column === null) {
        const named = cells.findIndex((cell) => NAMES.has(cell.toLowerCase()));
        column = Math.max(named, 0);
        if (named >= 0) continue;
      }
      const serial = (cells.length === 1 ? cells[0] : cells[column])?.toUpperCase() ?? '';
      if (!SERIAL.test(serial)) throw badLine(lineNumber, 'holds no serial number (4 to 32 of A-Z, 0-9 and -)');
      serials.add(serial);
      if (serials.size > countMax)
        throw badLine(lineNumber, `is one too many: an order takes ${countMax} units; split the file`);
    }
  } catch (thrown) {
    if (thrown instanceof FemtoError) throw thrown;
    throw new FemtoError('NOT_FOUND', `Cannot read ${path}; check the path.`, { cause: thrown });
  } finally {
    input.destroy();
  }
  if (serials.size === 0) throw new FemtoError('BAD_REQUEST', `${path} holds no serial numbers; write one a line.`);
  return [...serials];
}

function cellsOf(line: string): string[] {
  return line.split(/[,;\t]/).map((cell) => cell.trim().replace(/^"(.*)"$/, '$1'));
}

function isJson(line: string): boolean {
  return line.startsWith('{') || /^"[^"]*"$/.test(line);
}

function ofJson(line: string, lineNumber: number): string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw badLine(lineNumber, 'is no JSON');
  }
  if (typeof value === 'string') return value;
  const members = Object.entries(value as Record<string, unknown>);
  const found = members.find(([name, member]) => NAMES.has(name.toLowerCase()) && typeof member === 'string');
  if (found === undefined) throw badLine(lineNumber, 'has no member serialNumber');
  return String(found[1]);
}

function badLine(lineNumber: number, fault: string): FemtoError {
  return new FemtoError('BAD_REQUEST', `Line ${lineNumber} ${fault}.`, { facts: { line: lineNumber } });
}
