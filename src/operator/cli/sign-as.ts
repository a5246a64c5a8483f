import { createPrivateKey, sign } from 'node:crypto';
import type { Command } from 'commander';
import { type DangerousAct, freshness, requestHash, textToSign } from '../people/approvals.js';
import { callAndPrint, type GlobalOptions, globalsOf, personKeyOf } from './command-context.js';

/** Base64 of a signature over the hash of a request, with the person's own key, which never leaves this machine. */
export function signAs(globals: GlobalOptions, requestHash: Buffer, as: 'requester' | 'approver'): string {
  return sign('sha256', textToSign(requestHash, as), createPrivateKey(personKeyOf(globals))).toString('base64');
}

/** Puts an act before a second person: signed, ending in 24 h, and another one each time it is meant. */
export async function askSecondPerson(command: Command, act: DangerousAct): Promise<void> {
  const body = { ...act, ...freshness(new Date()) };
  const signature = signAs(globalsOf(command), requestHash(body), 'requester');
  await callAndPrint(command, { method: 'POST', path: '/approvals', body: { ...body, signature } });
}
