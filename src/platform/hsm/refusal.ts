import type { SignResult } from '../signer.js';

type RefusalCode = Extract<SignResult, { ok: false }>['code'];

/** The signer will not sign this row. Travels as an exception inside the judge only; neighbours never see it. */
export class Refusal extends Error {
  readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(message);
    this.name = 'Refusal';
    this.code = code;
  }
}

export function deny(message: string): never {
  throw new Refusal('DENIED', message);
}
