import { setTimeout as sleep } from 'node:timers/promises';
import type { FleetOrder, FleetOrders } from '../../lifecycle/revocation/index.js';

/** What was started answers with its end when that comes within this time, and with its progress otherwise. */
const ANSWER_MS = 2_000;
/** How soon an order that a crash left behind goes on. */
const EVERY_MS = 5_000;

export interface FleetRunner {
  /** Starts carrying an order out in the background; resolves with it done, or as it is after two seconds. */
  kick(orderId: number): Promise<FleetOrder>;
  /** Until {@link close}: whatever was started and is not done, goes on; several processes may do so. */
  watch(): void;
  close(): Promise<void>;
}

export function makeFleetRunner(
  orders: FleetOrders,
  onError: (error: unknown, orderId: number) => void = () => undefined,
): FleetRunner {
  const stop = new AbortController();
  const active = new Map<number, Promise<FleetOrder>>();
  let watching: Promise<void> | null = null;

  const carryOut = (orderId: number): Promise<FleetOrder> => {
    const going = active.get(orderId);
    if (going !== undefined) return going;
    const run = orders.carryOut(orderId, stop.signal).finally(() => active.delete(orderId));
    active.set(orderId, run);
    run.catch((error: unknown) => onError(error, orderId));
    return run;
  };
  return {
    kick: async (orderId) => {
      const done = await Promise.race([carryOut(orderId), sleep(ANSWER_MS, null, { ref: false })]);
      const order = done ?? (await orders.byId(orderId));
      if (order === null) throw new Error(`order ${orderId} is gone`);
      return order;
    },
    watch: () => {
      watching ??= (async () => {
        while (!stop.signal.aborted) {
          for (const orderId of await orders.running().catch(() => [])) await carryOut(orderId).catch(() => undefined);
          await sleep(EVERY_MS, null, { signal: stop.signal, ref: false }).catch(() => undefined);
        }
      })();
    },
    close: async () => {
      stop.abort();
      await Promise.allSettled([...active.values(), watching]);
    },
  };
}
