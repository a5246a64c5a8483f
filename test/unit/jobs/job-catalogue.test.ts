import { describe, expect, test } from '@jest/globals';
import { type JobHandlers, jobHandling } from '../../../src/jobs/job-catalogue.js';
import type { JobAttempt } from '../../../src/platform/queue/queue.js';

const seen: unknown[] = [];
const handlers: JobHandlers = { 'attend-renewals': async (payload) => void seen.push(payload) };
const range = { fromMicros: '1764000000000000', untilMicros: '1764000000000001' };
const letters = { write: async () => undefined };
const job = (name: string, data: unknown): JobAttempt => ({ name, id: 'x', data, attempt: 1 });

describe('the catalogue', () => {
  test('hands a job to the handler of its name, with its payload checked', async () => {
    await jobHandling(handlers, letters).run(job('attend-renewals', { slotIds: [1, 2], ...range }));
    expect(seen).toEqual([{ slotIds: [1, 2], ...range }]);
  });

  test.each([
    ['no such name', 'constructor', { slotIds: [1] }],
    ['no ids', 'attend-renewals', { slotIds: [], ...range }],
    ['more than 500 ids', 'attend-renewals', { slotIds: Array.from({ length: 501 }, (_, n) => n + 1), ...range }],
    ['other things than ids', 'attend-renewals', { slotIds: ['1'], ...range }],
    ['fields beside its own', 'attend-renewals', { slotIds: [1], ...range, extra: 1 }],
    ['no range', 'attend-renewals', { slotIds: [1] }],
    ['nothing', 'attend-renewals', null],
  ])('refuses %s as a failed try', async (_what, name, data) => {
    await expect(jobHandling(handlers, letters).run(job(name, data))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('a missing handler stops the start', () => {
    expect(() => jobHandling({} as JobHandlers, letters)).toThrow(/one handler each/);
  });
});
