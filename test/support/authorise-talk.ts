/** Units with an operational certificate, and gateways that ask about them by `curl`; each answer checked by `openssl`. */
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { makeNetworkOffice, makeRelocations, type NetworkRule } from '../../src/lifecycle/registry/index.js';
import { networkPolicyStore } from '../../src/lifecycle/registry/network-store.pg.js';
import { relocationStore } from '../../src/lifecycle/registry/relocation-store.pg.js';
import { readSpki } from '../../src/x509/spki.js';
import type { CurlAnswer, CurlCredential } from './curl-unit.js';
import type { WorldUnit } from './device-world.js';
import type { GatewayWorld } from './gateway-world.js';

export interface ActiveUnit extends WorldUnit {
  /** Its operational certificate, DER. */
  readonly certificate: Buffer;
  /** An address of its own line. */
  readonly address: string;
}

/** Members of the body that differ from an honest one, and headers. */
export type Changes = Readonly<Record<string, unknown>> & { readonly headers?: readonly string[] };

export interface AuthoriseTalk {
  /** An active unit on a line of its own, whose prefix is the given one. */
  activeUnit(prefix: string, region?: string): Promise<ActiveUnit>;
  ask(unit: Pick<ActiveUnit, 'certificate' | 'fqdn' | 'address'>, changes?: Changes): Promise<CurlAnswer>;
  /** The signed text of a 200, after `openssl dgst -verify` accepted the signature. */
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever a decision holds
  decide(unit: Pick<ActiveUnit, 'certificate' | 'fqdn' | 'address'>, changes?: Changes): Promise<any>;
  /** Puts rules in force, as two people who agreed do. */
  policy(rules: readonly NetworkRule[], whenUnknown?: object): Promise<number>;
  readonly relocations: ReturnType<typeof makeRelocations>;
}

export function authoriseTalk(world: GatewayWorld, gateway: CurlCredential): AuthoriseTalk {
  const { core, db, client } = world;
  const office = makeNetworkOffice({ ...core, policies: networkPolicyStore });
  let lines = 0;
  const ask: AuthoriseTalk['ask'] = ({ certificate, fqdn, address }, { headers = [], ...changes } = {}) =>
    client.call('POST', '/v1/authorise', {
      as: gateway,
      headers,
      json: {
        stage: 'ike',
        certificate: certificate.toString('base64'),
        identity: fqdn,
        address,
        keyProved: true,
        nonce: randomBytes(16).toString('hex'),
        ...changes,
      },
    });
  return {
    ask,
    decide: async (unit, changes) => {
      const { status, body } = await ask(unit, changes);
      if (status !== 200) throw new Error(`authorise answered ${status}: ${JSON.stringify(body)}`);
      const [text, signature, pem] = ['decision', 'signature', 'decision-pem'].map(client.file) as [
        string,
        string,
        string,
      ];
      writeFileSync(text, body.decision);
      writeFileSync(signature, Buffer.from(body.signature, 'base64'));
      writeFileSync(pem, body.certificate);
      const spki = client.file('decision-pub');
      writeFileSync(spki, execFileSync('openssl', ['x509', '-in', pem, '-noout', '-pubkey']));
      const said = await client.openssl('dgst', '-sha256', '-verify', spki, '-signature', signature, text);
      if (!said.includes('Verified OK')) throw new Error(`openssl says of the decision: ${said}`);
      return JSON.parse(body.decision);
    },
    activeUnit: async (prefix, region = '') => {
      const unit = await world.addUnit();
      lines += 1;
      const lineId = await world.addLine(`own-${lines}`, prefix);
      await db.pool.query(`UPDATE line SET region = $2 WHERE id = $1`, [lineId, region]);
      await db.pool.query(`UPDATE unit SET state = 'ACTIVE', line_id = $2 WHERE id = $1`, [unit.id, lineId]);
      const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      const { der } = await world.issuance.issue({
        purpose: 'operational',
        unitId: unit.id,
        machineId: null,
        commonName: unit.fqdn,
        sanDns: unit.fqdn,
        spki: readSpki(publicKey.export({ type: 'spki', format: 'der' })),
        lifeSeconds: 7 * 86_400,
        revocationEpoch: 0,
        successor: { lineageId: null, generation: 1, preissued: false, displacesSlotId: null },
        actor: 'test:unit',
      });
      return { ...unit, lineId, certificate: der, address: prefix.split('/')[0] ?? '' };
    },
    policy: async (rules, whenUnknown) => {
      const by = { reason: 'a test', actor: 'person:kim' };
      const { version } = await office.propose({ document: { rules, whenUnknown: whenUnknown ?? {} }, ...by });
      await core.transactor.run((tx) => office.activate(tx, { version, ...by, approvedBy: 'person:lee' }));
      return version;
    },
    relocations: makeRelocations({ ...core, orders: relocationStore }),
  };
}
