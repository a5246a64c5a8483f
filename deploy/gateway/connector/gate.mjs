/** At most so many at once; the rest in order. @param {number} max */
export function makeGate(max) {
  let busy = 0;
  const waiting = /** @type {(() => void)[]} */ ([]);
  return async (/** @type {() => Promise<void>} */ work) => {
    if (busy >= max) await /** @type {Promise<void>} */ (new Promise((turn) => waiting.push(turn)));
    else busy += 1;
    try {
      await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else busy -= 1;
    }
  };
}
