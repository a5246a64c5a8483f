/**
 * Who exists and in which state: makers, batches, units, cells, lines, our own CAs, and the machines that serve.
 * Promises: a unit's state changes only along the legal transitions, with actor, reason and history in the same commit;
 * of two changes at once one wins and the other learns the current state; a cell or a line is never on two units; a
 * line is found from an address by the operator's own table, never from what a caller says; a machine has a role only
 * by the exact issuing key plus its approved row; a maker's own CA speaks only for keys that its accepted manifests name;
 * where a unit may come from is a version of the network policy that people proposed and activated, and nothing else.
 */

export { type CaOffice, type CaOfficeDeps, type CaStanding, makeCaOffice } from './ca-office.js';
export type * from './ca-store.js';
export { INTERMEDIATES_MAX } from './check-vendor-anchor.js';
export { VENDOR_CRL_BYTES_MAX } from './check-vendor-crl.js';
export {
  type ModelChange,
  type ModelDeps,
  type ModelOffice,
  makeModelOffice,
} from './configure-model.js';
export * from './issuer-directory.js';
export * from './judge-network.js';
export { makeVendorAnchors, type VendorDeps } from './judge-vendor.js';
export * from './load-hierarchy.js';
export * from './machine.js';
export { type MachineDeps, type MachineOffice, type MachineRequest, makeMachineOffice } from './machine-register.js';
export type * from './machine-store.js';
export { makeRegistry } from './make-registry.js';
export type * from './maker-store.js';
export * from './model.js';
export type * from './model-store.js';
export * from './names.js';
export * from './network-danger.js';
export { makeNetworkGate, type NetworkGate } from './network-gate.js';
export { makeNetworkGuard, type NetworkGuard } from './network-guard.js';
export { makeNetworkOffice, type NetworkOffice } from './network-office.js';
export * from './network-rule.js';
export type * from './network-store.js';
export type * from './place-store.js';
export { type MakerDeps, registerMaker, setMakerState } from './register-maker.js';
export { assignPrefix, type NewPrefix, type PlaceDeps, registerCell, registerLine } from './register-place.js';
export type * from './registry.js';
export { makeRegistryOffice, type RegistryOffice } from './registry-office.js';
export { makeRelocations, type Relocations } from './relocation.js';
export type * from './relocation-store.js';
export type { RegistryDeps } from './require-unit.js';
export type * from './unit-store.js';
export type * from './vendor-anchor.js';
export type * from './vendor-anchor-store.js';
export { makeVendorOffice, type VendorOffice, type VendorOfficeDeps } from './vendor-office.js';
