import type { z } from 'zod';
import type { Person, PersonRole } from '../people/person.js';

/**
 * One line of the operator API. The table of routes is the API: the server mounts it, the OpenAPI file is printed from
 * it, and a test walks it role by role, so that no endpoint can exist beside it.
 */
export interface Route {
  readonly method: 'GET' | 'POST';
  /** Express path below `/api/v1`, e.g. `/units/:serialNumber`. */
  readonly path: string;
  readonly summary: string;
  /** Who may call; everybody else gets DENIED. */
  readonly roles: readonly PersonRole[];
  readonly body?: z.ZodType;
  /** Default 64 KiB. */
  readonly bodyBytesMax?: number;
  readonly query?: z.ZodType;
  readonly handler: (call: Call) => Promise<unknown>;
}

export interface Call {
  readonly person: Person;
  /** As the ledger names the caller: `person:<name>`. */
  readonly actor: string;
  readonly params: Readonly<Record<string, string>>;
  readonly body: unknown;
  readonly query: unknown;
}

/** Ties the schema of a body and a query to the types that its handler sees. */
export function route<Body extends z.ZodType, Query extends z.ZodType>(definition: {
  method: Route['method'];
  path: string;
  summary: string;
  roles: readonly PersonRole[];
  body?: Body;
  bodyBytesMax?: number;
  query?: Query;
  handler: (call: Omit<Call, 'body' | 'query'> & { body: z.infer<Body>; query: z.infer<Query> }) => Promise<unknown>;
}): Route {
  return definition as Route;
}

export const READERS: readonly PersonRole[] = ['operator', 'approver', 'auditor'];
export const OPERATORS: readonly PersonRole[] = ['operator'];
/** Acts that any of the two may do alone, because they only ever restrict. */
export const DECIDERS: readonly PersonRole[] = ['operator', 'approver'];
