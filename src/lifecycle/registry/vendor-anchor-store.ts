import type { Transaction } from '../../platform/db/transaction.js';
import type { ModelKey } from './model.js';
import type { VendorAnchor } from './vendor-anchor.js';

/** Rows of `vendor_anchor`. */
export interface VendorAnchorStore {
  /** Active ones of a model, oldest first. */
  activeAnchors(tx: Transaction, model: ModelKey): Promise<VendorAnchor[]>;
  anchors(tx: Transaction): Promise<VendorAnchor[]>;
  anchor(tx: Transaction, name: string, lock?: 'update'): Promise<VendorAnchor | null>;
  /**
   * Enters it, or brings the disabled anchor of this model and key back as given now, without CRLs. Null when an active
   * anchor of the model has the key, or another anchor the name.
   */
  addAnchor(
    tx: Transaction,
    anchor: Omit<VendorAnchor, 'id' | 'makerName' | 'crls' | 'crlsAt' | 'state'>,
  ): Promise<{ readonly id: number } | null>;
  disableAnchor(tx: Transaction, id: number): Promise<void>;
  writeCrls(tx: Transaction, id: number, crls: readonly Buffer[], at: Date): Promise<void>;
}
