import type { Maker } from './maker-store.js';
import { type MakerDeps, registerMaker, setMakerState } from './register-maker.js';
import { assignPrefix, type NewPrefix, type PlaceDeps, registerCell, registerLine } from './register-place.js';
import type { Cell, Line } from './registry.js';

/** What people enter by hand or by file; each call is one transaction. Errors: see the functions of the same names. */
export interface RegistryOffice {
  registerMaker(request: Parameters<typeof registerMaker>[1]): Promise<Maker>;
  setMakerState(request: Parameters<typeof setMakerState>[1]): Promise<Maker>;
  registerLine(request: Parameters<typeof registerLine>[1]): Promise<Line>;
  assignPrefix(request: NewPrefix & { lineName: string; actor: string }): Promise<void>;
  registerCell(request: Parameters<typeof registerCell>[1]): Promise<Cell>;
}

export function makeRegistryOffice(deps: MakerDeps & PlaceDeps): RegistryOffice {
  return {
    registerMaker: (request) => registerMaker(deps, request),
    setMakerState: (request) => setMakerState(deps, request),
    registerLine: (request) => registerLine(deps, request),
    assignPrefix: (request) => assignPrefix(deps, request),
    registerCell: (request) => registerCell(deps, request),
  };
}
