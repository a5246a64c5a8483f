const BYTEA_OID = 17;
const HEAD_BYTES = 20;

/**
 * A `bytea[]` parameter in PostgreSQL's binary form: pg sends a Buffer as it is, whereas an array of Buffers becomes hex
 * text, escaped, twice as long, and is read back on the other side.
 *
 *   i32 dimensions = 1 │ i32 has nulls = 0 │ i32 element type │ i32 elements │ i32 lower bound = 1 │ (i32 length │ bytes) …
 */
export function byteaArray(values: readonly Buffer[]): Buffer {
  const size = values.reduce((sum, value) => sum + 4 + value.length, HEAD_BYTES);
  const out = Buffer.allocUnsafe(size);
  let at = 0;
  for (const field of [1, 0, BYTEA_OID, values.length, 1]) at = out.writeInt32BE(field, at);
  for (const value of values) {
    at = out.writeInt32BE(value.length, at);
    at += value.copy(out, at);
  }
  return out;
}
