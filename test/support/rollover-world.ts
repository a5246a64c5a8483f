/** A running installation's parts in which CAs change: units, gateways, the publisher of CRLs, and two people with the CLI. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { crlStore } from '../../src/lifecycle/status/crl-store.pg.js';
import { makeCrlPublisher } from '../../src/lifecycle/status/index.js';
import { statusChangeReader } from '../../src/lifecycle/status/status-changes.pg.js';
import { makeLeases } from '../../src/platform/db/lease.pg.js';
import type { Signer } from '../../src/platform/signer.js';
import { createPlainListener } from '../../src/protocol/cmp/plain-listener.js';
import { makeCrlDirectory } from '../../src/protocol/crl/crl-directory.js';
import { listening, openCmp, raOf } from './cmp-world.js';
import { run, runClient } from './command.js';
import { type CurlCredential, curlUnit } from './curl-unit.js';
import type { WorldUnit } from './device-world.js';
import { type GatewayWorld, startGatewayWorld } from './gateway-world.js';
import { type OperatorShell, operatorShell } from './operator-shell.js';
import { type UnitProtocol, unitProtocols, type Wish } from './unit-protocols.js';

export interface RolloverWorld {
  readonly world: GatewayWorld;
  readonly shell: OperatorShell;
  readonly rest: UnitProtocol;
  readonly est: UnitProtocol;
  /** With `openssl cmp`; its grant is an order. */
  readonly cmp: UnitProtocol;
  readonly worker: Signer;
  readonly crlDir: string;
  /** Publishes what is due, as the worker does. */
  publish(): Promise<void>;
  /** `femtopki …` as one of the two people; its standard output, or a throw with all that it said. */
  femtopki(as: 'operator' | 'approver', ...args: string[]): Promise<string>;
  /** Asked by the operator, agreed to by the approver, carried out; what the CLI printed. */
  byTwo(act: 'activate' | 'retire', label: string): Promise<string>;
  /** A gateway says that it knows these; the answer's status. */
  acknowledge(gateway: CurlCredential, ...sha256: string[]): Promise<number>;
  activeUnit(protocol?: UnitProtocol): Promise<{ id: number; op: CurlCredential }>;
  /** Label of the CA that issued it, by its issuer name as openssl prints it. */
  issuerOf(op: CurlCredential): string;
  close(): Promise<void>;
}

export async function startRolloverWorld(): Promise<RolloverWorld> {
  const world = await startGatewayWorld();
  const { core, token, db, dir, port } = world;
  const ra = await raOf(world);
  const cmp = openCmp(world, { core, device: world, macKey: Buffer.alloc(32, 1), ra: () => ra });
  const plain = createPlainListener(cmp, cmp.handler);
  const cmpPort = await listening(plain);
  const shell = await operatorShell(core, { dbUrl: db.url, macKey: Buffer.alloc(32, 1) });
  const useAtGateway = async (): Promise<void> => undefined;
  const { REST: rest, EST: est, CMP } = unitProtocols({ dir, port, cmpPort, useAtGateway });
  await db.pool.query('UPDATE batch SET unit_count = 1000');
  const crlDir = join(token.dataDir, 'crl');
  mkdirSync(crlDir, { recursive: true });
  const worker = token.connect('worker');
  const crls = makeCrlPublisher({
    ...core,
    store: crlStore,
    changes: statusChangeReader,
    leases: makeLeases(core.transactor),
    signer: worker,
    files: makeCrlDirectory(crlDir),
    holder: 'test',
    everySeconds: 3_600,
    lifeSeconds: 21_600,
  });
  const femtopki: RolloverWorld['femtopki'] = async (as, ...args) => {
    const { code, text } = await runClient(join(shell.binDir, 'femtopki'), [...args, '--as', as]);
    if (code !== 0) throw new Error(text);
    return text;
  };
  const client = curlUnit(dir, world.gatewayPort);
  const ordered = async ({ id: unitId, lineId }: WorldUnit): Promise<Wish> => {
    const terms = { kind: 'order', createdBy: 'person:kim', approvedBy: null, lifeSeconds: 86_400 } as const;
    await world.rooms.enrolment.createGrant({ unitId, lineId, ...terms });
    return {};
  };
  return {
    world,
    shell,
    rest,
    est,
    cmp: CMP,
    worker,
    crlDir,
    femtopki,
    publish: async () => {
      for (const { outcome, error } of await crls.publishDue()) if (outcome === 'failed') throw error;
    },
    byTwo: async (act, label) => {
      const reason = `${act} ${label} as planned`;
      const asked = await femtopki('operator', 'ca', 'request', '--act', act, label, '--reason', reason, '-o', 'json');
      const { id } = JSON.parse(asked) as { id: number };
      await femtopki('approver', 'approval', 'approve', String(id));
      return femtopki('operator', 'ca', act, label, '--reason', reason, '--approval', String(id), '-o', 'json');
    },
    acknowledge: async (as, ...certificates) =>
      (await client.call('POST', '/v1/anchors/acks', { as, json: { certificates } })).status,
    activeUnit: async (protocol = rest) => {
      const unit = await world.addUnit();
      const outcome = await protocol.activate(
        unit,
        protocol.saysCodes ? { code: await world.grant(unit) } : await ordered(unit),
      );
      if (outcome.kind !== 'issued') throw new Error(`nothing was issued: ${JSON.stringify(outcome)}`);
      await protocol.confirm(outcome.op);
      return { id: unit.id, op: outcome.op };
    },
    issuerOf: ({ pemFile }) => {
      const { text } = run('openssl', ['x509', '-in', pemFile, '-noout', '-issuer', '-nameopt', 'multiline']);
      return /commonName\s+= (.*) [0-9a-f]{16}/.exec(text)?.[1]?.toLowerCase().replaceAll(' ', '-') ?? text;
    },
    close: async () => {
      await shell.close();
      cmp.close();
      await new Promise((done) => plain.close(done));
      await world.close();
    },
  };
}
