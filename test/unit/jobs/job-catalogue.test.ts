import { describe, expect, test } from '@jest/globals';
import { type JobHandlers, jobHandling } from '../../../src/jobs/job-catalogue.js';
import type { JobAttempt } from '../../../src/platform/queue/queue.js';

const seen: unknown[] = [];
const handlers: JobHandlers = {
  'remind-units': async (payload) => void seen.push(payload),
  'preissue-units': async () => undefined,
};
const letters = { write: async () => undefined };
const job = (name: string, data: unknown): JobAttempt => ({ name, id: 'x', data, attempt: 1 });

describe('the catalogue', () => {
  test('hands a job to the handler of its name, with its payload checked', async () => {
    await jobHandling(handlers, letters).run(job('remind-units', { slotIds: [1, 2] }));
    expect(seen).toEqual([{ slotIds: [1, 2] }]);
  });

  test.each([
    ['no such name', 'constructor', { slotIds: [1] }],
    ['no ids', 'remind-units', { slotIds: [] }],
    ['more than 500 ids', 'remind-units', { slotIds: Array.from({ length: 501 }, (_, n) => n + 1) }],
    ['other things than ids', 'remind-units', { slotIds: ['1'] }],
    ['fields beside the ids', 'remind-units', { slotIds: [1], extra: 1 }],
    ['nothing', 'remind-units', null],
  ])('refuses %s as a failed try', async (_what, name, data) => {
    await expect(jobHandling(handlers, letters).run(job(name, data))).rejects.toMatchObject({ code: 'BAD_REQUEST' });
  });

  test('a missing handler stops the start', () => {
    const { 'preissue-units': _dropped, ...missing } = handlers;
    expect(() => jobHandling(missing as JobHandlers, letters)).toThrow(/one handler each/);
  });
});
