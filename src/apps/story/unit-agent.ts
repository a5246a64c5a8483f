import { makeRequest } from './unit-tools.js';
import type { World } from './world.js';

/** The unit’s own part in the story, by curl and openssl alone. */
export function unitAgent(world: World): { activate(code: string): Promise<void>; renew(): Promise<void> } {
  return {
    activate: async (code) => {
      const nonce = String((await world.curl(`${world.enrolUrl}/v1/nonce`, { as: 'bootstrap' })).json['nonce']);
      await makeRequest(world, 'unit', { nonce });
      const answer = await world.curl(`${world.enrolUrl}/v1/activate`, {
        as: 'bootstrap',
        headers: ['Idempotency-Key: unit-0123456789abcdef'],
        body: { csr: world.read('unit.csr'), code },
      });
      if (answer.status !== 200) throw new Error(answer.text);
      world.write('unit.pem', String(answer.json['certificate']));
      const confirmed = await world.curl(`${world.enrolUrl}/v1/confirm`, { as: 'unit', body: {} });
      if (confirmed.status !== 200) throw new Error(confirmed.text);
    },
    renew: async () => {
      const nonce = String((await world.curl(`${world.enrolUrl}/v1/nonce`, { as: 'unit' })).json['nonce']);
      await makeRequest(world, 'thief', { nonce });
      const { signRenewal } = await import('./stolen-acts.js');
      const answer = await world.curl(`${world.enrolUrl}/v1/renew`, {
        as: 'unit',
        headers: ['Idempotency-Key: unit-renew-0123456789'],
        body: { csr: world.read('thief.csr'), predecessorSignature: await signRenewal(world, nonce) },
      });
      if (answer.status !== 200) throw new Error(answer.text);
      world.write('unit.pem', String(answer.json['certificate']));
      world.write('unit.key', world.read('thief.key'));
      const confirmed = await world.curl(`${world.enrolUrl}/v1/confirm`, { as: 'unit', body: {} });
      if (confirmed.status !== 200) throw new Error(confirmed.text);
    },
  };
}
