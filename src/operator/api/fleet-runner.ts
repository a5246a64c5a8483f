import { setTimeout as sleep } from 'node:timers/promises';
import type { FleetOrder, FleetOrders } from '../../lifecycle/revocation/index.js';

/** What was started answers with its end when that comes within this time, and with its progress otherwise. */
const ANSWER_MS = 2_000;
/** How soon an order that a crash left behind goes on. */
const EVERY_MS = 5_000;
/** One that failed waits twice as long each time, up to five minutes: nobody may have signed it, and each try is an alarm. */
const PAUSES_MAX = 60;

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
      const pauses = new Map<number, { length: number; left: number }>();
      const turn = async (orderId: number): Promise<void> => {
        const pause = pauses.get(orderId) ?? { length: 1, left: 0 };
        if (pause.left > 0) return void pauses.set(orderId, { ...pause, left: pause.left - 1 });
        const isDone = await carryOut(orderId).then(
          () => true,
          () => false,
        );
        if (isDone) pauses.delete(orderId);
        else pauses.set(orderId, { length: Math.min(pause.length * 2, PAUSES_MAX), left: pause.length });
      };
      watching ??= (async () => {
        while (!stop.signal.aborted) {
          for (const orderId of await orders.running().catch(() => [])) await turn(orderId);
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
