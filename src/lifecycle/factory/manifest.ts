/** 100,000 rows of some 230 bytes, in base64url, with room. */
export const MANIFEST_BYTES_MAX = 32 * 1024 * 1024;
export const MANIFEST_ROWS_MAX = 100_000;

/** One row as it will stand in the registry. */
export interface ManifestUnit {
  readonly serialNumber: string;
  readonly eui: string;
  readonly hardwareId: string;
  readonly productClass: string;
  readonly vendorSpkiHash: Buffer | null;
}

/** The signed statement of a maker: these units, this model, this firmware. */
export interface Manifest {
  readonly maker: string;
  readonly batch: string;
  readonly model: string;
  readonly firmwareSha256: string;
  readonly createdAt: Date;
  readonly nonce: string;
  readonly units: readonly ManifestUnit[];
}

export interface ManifestReport {
  readonly maker: string;
  readonly batch: string;
  readonly rows: number;
  /** `row 17: serialNumber …`; rows count from 1. Empty when the manifest is good; at most FAULTS_SHOWN_MAX. */
  readonly faults: readonly string[];
  readonly faultCount: number;
  readonly dryRun: boolean;
  /** Lower-case hex of the signed payload. */
  readonly manifestSha256: string;
  /** Null for a dry run. */
  readonly batchId: number | null;
}
