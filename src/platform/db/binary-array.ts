/**
 * Array parameters in PostgreSQL's binary form: pg sends a Buffer as it is, whereas it writes an array as text, escaped, and
 * every element is parsed on the other side. A column of a set statement costs a third this way, on both sides.
 *
 *   i32 dimensions = 1 │ i32 has nulls │ i32 element type │ i32 elements │ i32 lower bound = 1 │ (i32 length, -1 = null │ bytes) …
 *
 * The statement casts to the same element type (`$1::bigint[]` for int8Array): a binary parameter is never converted.
 */

const OID = { bool: 16, bytea: 17, int8: 20, int4: 23, text: 25, timestamptz: 1184, uuid: 2950 } as const;
const HEAD_BYTES = 20;
const NULL_LENGTH = -1;
const TWO_32 = 0x1_0000_0000;
/** 2000-01-01, PostgreSQL's own beginning of time. */
const EPOCH_MS = 946_684_800_000;

export function byteaArray(values: readonly (Buffer | null)[]): Buffer {
  const out = begin(
    OID.bytea,
    values,
    values.reduce((sum, value) => sum + (value?.length ?? 0), 0),
  );
  let at = HEAD_BYTES;
  for (const value of values) {
    at = out.writeInt32BE(value?.length ?? NULL_LENGTH, at);
    if (value !== null) at += value.copy(out, at);
  }
  return out;
}

export function textArray(values: readonly (string | null)[]): Buffer {
  const out = begin(
    OID.text,
    values,
    values.reduce((sum, value) => sum + (value === null ? 0 : Buffer.byteLength(value)), 0),
  );
  let at = HEAD_BYTES;
  for (const value of values) {
    const bytes = value === null ? 0 : out.write(value, at + 4);
    at = out.writeInt32BE(value === null ? NULL_LENGTH : bytes, at) + bytes;
  }
  return out;
}

export function int4Array(values: readonly (number | null)[]): Buffer {
  return ofWidth(4, OID.int4, values, (out, value, at) => out.writeInt32BE(value, at));
}

/** @param values  safe integers */
export function int8Array(values: readonly (number | null)[]): Buffer {
  return ofWidth(8, OID.int8, values, writeInt8);
}

export function timestamptzArray(values: readonly (Date | null)[]): Buffer {
  return ofWidth(8, OID.timestamptz, values, (out, value, at) => {
    const micros = (value.getTime() - EPOCH_MS) * 1_000;
    if (Number.isSafeInteger(micros)) return writeInt8(out, micros, at);
    return out.writeBigInt64BE(BigInt(value.getTime() - EPOCH_MS) * 1_000n, at); // beyond the year 2285
  });
}

export function boolArray(values: readonly (boolean | null)[]): Buffer {
  return ofWidth(1, OID.bool, values, (out, value, at) => out.writeUInt8(value ? 1 : 0, at));
}

/** @param values  in the usual form with hyphens */
export function uuidArray(values: readonly string[]): Buffer {
  return ofWidth(16, OID.uuid, values, (out, value, at) => out.write(value.replaceAll('-', ''), at, 'hex'));
}

function ofWidth<Value>(
  bytes: number,
  oid: number,
  values: readonly (Value | null)[],
  write: (out: Buffer, value: Value, at: number) => number,
): Buffer {
  const nulls = values.reduce((count, value) => (value === null ? count + 1 : count), 0);
  const out = begin(oid, values, (values.length - nulls) * bytes);
  let at = HEAD_BYTES;
  for (const value of values) {
    at = out.writeInt32BE(value === null ? NULL_LENGTH : bytes, at);
    if (value === null) continue;
    write(out, value, at);
    at += bytes;
  }
  return out;
}

function begin(oid: number, values: readonly unknown[], contentBytes: number): Buffer {
  const out = Buffer.allocUnsafe(HEAD_BYTES + 4 * values.length + contentBytes);
  let at = 0;
  for (const field of [1, values.includes(null) ? 1 : 0, oid, values.length, 1]) at = out.writeInt32BE(field, at);
  return out;
}

/** In two halves: a BigInt for each would cost more than the rest. */
function writeInt8(out: Buffer, value: number, at: number): number {
  const high = Math.floor(value / TWO_32);
  out.writeInt32BE(high, at);
  return out.writeUInt32BE(value - high * TWO_32, at + 4);
}
