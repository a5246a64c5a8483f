import type pg from 'pg';
import { primaryClient } from './primary.pg.js';

/**
 * Listens on a channel with a connection of its own, and connects again whenever it is lost. What is said while it is
 * away is not heard: whoever listens has a ledger cursor that makes up for it (rules 7.2).
 *
 * @param channel  a plain identifier of ours
 * @returns close
 */
export function listenOn(
  databaseUrl: string,
  channel: string,
  onNotice: (payload: string) => void,
  onTrouble: (error: unknown) => void,
): () => Promise<void> {
  const { url, Client } = primaryClient(databaseUrl);
  let client: pg.Client | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  const again = (error: unknown): void => {
    if (isClosed || timer) return;
    onTrouble(error);
    timer = setTimeout(() => {
      timer = undefined;
      connect();
    }, RECONNECT_MS);
    timer.unref();
  };
  const connect = (): void => {
    const next = new Client({
      connectionString: url,
      application_name: `listen:${channel}`,
      keepAlive: true,
    });
    client = next;
    next.on('notification', ({ payload }) => onNotice(payload ?? '*'));
    next.on('error', again);
    next.on('end', () => again(new Error('the listening connection ended')));
    next
      .connect()
      .then(() => next.query(`LISTEN ${channel}`))
      .catch((error: unknown) => {
        next.end().catch(onTrouble);
        again(error);
      });
  };
  connect();
  return async () => {
    isClosed = true;
    clearTimeout(timer);
    await client?.end();
  };
}

const RECONNECT_MS = 1_000;
