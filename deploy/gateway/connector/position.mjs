/**
 * A place in the server's ledger.
 *
 * @typedef {{ epoch: number, seq: number }} Position
 */

/** @param {string} text  `<epoch>:<seq>` @returns {Position} */
export function positionOf(text) {
  const read = /^(\d{1,9}):(\d{1,15})$/.exec(text);
  if (!read) throw new Error(`"${text}" is no position`);
  return { epoch: Number(read[1]), seq: Number(read[2]) };
}

/** @param {Position} a @param {Position} b */
export function isBefore(a, b) {
  return a.epoch < b.epoch || (a.epoch === b.epoch && a.seq < b.seq);
}
