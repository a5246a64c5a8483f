import { setTimeout as sleep } from 'node:timers/promises';
import { Presets, SingleBar } from 'cli-progress';
import { FemtoError } from '../../platform/errors.js';
import type { ApiClient } from './api-client.js';
import { note } from './output.js';

/** As the API shows an order. */
export interface ShownOrder {
  readonly id: number;
  readonly state: string;
  readonly count: number;
  readonly done: number;
  readonly approval: number | null;
  readonly lastError: string | null;
}

const EVERY_MS = 500;

/** Waits until an order is done, with a bar on a terminal. Ctrl-C only stops looking: the server goes on. */
export async function followOrder(
  client: ApiClient,
  order: ShownOrder,
  { wait }: { readonly wait: boolean },
): Promise<ShownOrder> {
  let now = order;
  // Nothing is drawn where nobody looks: a log keeps the data alone.
  const bar = new SingleBar({ format: '{bar} {value} of {total} units, {eta_formatted} left' }, Presets.shades_classic);
  if (wait && now.state === 'running') bar.start(now.count, now.done);
  while (wait && now.state === 'running') {
    if (now.lastError !== null) {
      bar.stop();
      throw new FemtoError('RETRY_LATER', `Order ${now.id} stopped at ${now.done} of ${now.count}: ${now.lastError}`);
    }
    await sleep(EVERY_MS);
    now = (await client.get(`/fleet-orders/${now.id}`)) as ShownOrder;
    bar.update(now.done);
  }
  bar.stop();
  if (now.state === 'running') note(`Order ${now.id} goes on; look with femtopki fleet show ${now.id}.`);
  return now;
}
