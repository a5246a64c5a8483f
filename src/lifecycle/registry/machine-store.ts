import type { Transaction } from '../../platform/db/transaction.js';
import type { Actor } from '../model/index.js';
import type { Machine, MachineKind } from './machine.js';

export interface NewMachine {
  readonly kind: MachineKind;
  readonly name: string;
  readonly makerId: number | null;
  readonly dnsName: string | null;
  readonly spkiDer: Buffer;
  readonly spkiHash: Buffer;
  readonly requestedBy: Actor;
  readonly createdAt: Date;
}

export interface MachineCertificate {
  readonly issuerId: number;
  readonly serial: Buffer;
  readonly notAfter: Date;
  readonly spkiHash: Buffer;
}

/** Rows of `machine`. */
export interface MachineStore {
  find(
    tx: Transaction,
    by: { id: number } | { name: string } | { spkiHash: Buffer },
    lock?: 'update',
  ): Promise<Machine | null>;
  list(
    tx: Transaction,
    filter: { kind?: MachineKind; state?: Machine['state']; afterId: number; limit: number },
  ): Promise<Machine[]>;
  /** Null when the name or the key is taken. */
  add(tx: Transaction, machine: NewMachine): Promise<Machine | null>;
  approve(tx: Transaction, machineId: number, by: { personId: number; at: Date }): Promise<void>;
  disable(tx: Transaction, machineId: number): Promise<void>;
  /** Approved ones without a certificate, or whose renewal was asked for after the last one; oldest first. */
  awaiting(tx: Transaction, limit: number): Promise<Machine[]>;
  askRenewal(tx: Transaction, machineId: number, key: { spkiDer: Buffer; spkiHash: Buffer }, at: Date): Promise<void>;
  recordCertificate(tx: Transaction, machineId: number, certificate: MachineCertificate): Promise<void>;
}
