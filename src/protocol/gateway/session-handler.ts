import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { type AskingGateway, SESSION_EVENTS_MAX, type SessionDesk } from '../../lifecycle/admission/index.js';
import { readJsonBody } from '../rest/body.js';

const REPORT_BYTES_MAX = 512 * 1024;

const session = z.string().regex(/^[0-9a-f]{32}$/);

const reportBody = z.strictObject({
  stream: z.uuid(),
  events: z
    .array(
      z.strictObject({
        seq: z.int().min(1),
        kind: z.enum(['up', 'rekey', 'down']),
        session,
        at: z.iso.datetime({ offset: true }),
        identity: z.string().min(1).max(253),
        address: z.string().min(2).max(64),
      }),
    )
    .min(1)
    .max(SESSION_EVENTS_MAX),
});

const answerBody = z.strictObject({
  id: z.string().regex(/^[1-9][0-9]{0,17}$/),
  session,
  nonce: z.string().regex(/^[0-9a-f]{32}$/),
  alive: z.boolean(),
});

/** Session events and probes of the gateway port (AUZ-4, DET-1). */
export interface SessionHandler {
  /** `POST /v1/session-events` */
  report(gateway: AskingGateway, request: IncomingMessage): Promise<object>;
  /** `GET /v1/probes` */
  questions(gateway: AskingGateway): Promise<object>;
  /** `POST /v1/probes` */
  answer(gateway: AskingGateway, request: IncomingMessage): Promise<object>;
}

export function makeSessionHandler(desk: SessionDesk): SessionHandler {
  return {
    report: async (gateway, request) => {
      const { stream, events } = await readJsonBody(request, reportBody, { bytesMax: REPORT_BYTES_MAX });
      return desk.report(gateway, {
        stream,
        events: events.map((event) => ({
          ...event,
          session: Buffer.from(event.session, 'hex'),
          at: new Date(event.at),
        })),
      });
    },
    questions: async (gateway) => ({
      probes: (await desk.probes(gateway)).map((question) => ({
        id: question.id,
        session: question.session.toString('hex'),
        nonce: question.nonce.toString('hex'),
        askBefore: question.askBefore.toISOString(),
      })),
    }),
    answer: async (gateway, request) => {
      const body = await readJsonBody(request, answerBody);
      const state = await desk.answerProbe(gateway, {
        ...body,
        session: Buffer.from(body.session, 'hex'),
        nonce: Buffer.from(body.nonce, 'hex'),
      });
      // Whether the other one answered is none of a gateway's business; the feed tells whom to cut.
      return { state: state === 'open' ? 'open' : 'closed' };
    },
  };
}
