/** The unit's idea of time: its own clock, corrected by the last signed answer of the network. */
export interface UnitClock {
  now(): Date;
  /** A signed, nonce-fresh answer: it overrides clock and ratchet alike (rules 8.3). */
  set(networkTime: Date): void;
}

/**
 * @param deviceClock  what the hardware says; 1970 after a battery's end
 * @param timeSeen     the latest time the network ever proved: without an answer the unit never goes back before it
 */
export function makeUnitClock(deviceClock: () => Date, timeSeen: string | null): UnitClock {
  let offsetMs: number | null = null;
  const floorMs = timeSeen === null ? 0 : Date.parse(timeSeen);
  return {
    now: () => {
      const deviceMs = deviceClock().getTime();
      return new Date(offsetMs === null ? Math.max(deviceMs, floorMs) : deviceMs + offsetMs);
    },
    set: (networkTime) => {
      offsetMs = networkTime.getTime() - deviceClock().getTime();
    },
  };
}
