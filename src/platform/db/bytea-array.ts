const BYTEA_OID = 17;
const HEAD_BYTES = 20;
const NULL_LENGTH = -1;

/**
 * A `bytea[]` parameter in PostgreSQL's binary form: pg sends a Buffer as it is, whereas an array of Buffers becomes hex
 * text, escaped, twice as long, and is read back on the other side.
 *
 *   i32 dimensions = 1 │ i32 has nulls │ i32 element type │ i32 elements │ i32 lower bound = 1 │ (i32 length, -1 = null │ bytes) …
 */
export function byteaArray(values: readonly (Buffer | null)[]): Buffer {
  const size = values.reduce((sum, value) => sum + 4 + (value?.length ?? 0), HEAD_BYTES);
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  const hasNulls = values.includes(null) ? 1 : 0;
  for (const field of [1, hasNulls, BYTEA_OID, values.length, 1]) at = out.writeInt32BE(field, at);
  for (const value of values) {
    at = out.writeInt32BE(value?.length ?? NULL_LENGTH, at);
    if (value !== null) at += value.copy(out, at);
  }
  return out;
}
