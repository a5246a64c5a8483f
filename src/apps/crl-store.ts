import type { CrlFiles, CrlSource } from '../lifecycle/status/index.js';
import type { Config } from '../platform/config/config.js';
import type { DataPaths } from '../platform/data-directory.js';
import { readBucketCredentials } from '../protocol/crl/bucket-credentials.js';
import { makeCrlBucket } from '../protocol/crl/crl-bucket.js';
import { crlNamesIn, makeCrlDirectory } from '../protocol/crl/crl-directory.js';

/** The store that the settings name; undefined: none. */
export function openCrlStore({ status }: Pick<Config, 'status'>): CrlFiles | undefined {
  const { url, region, credentialsFile } = status.crlStore;
  if (url === undefined || credentialsFile === undefined) return undefined;
  return makeCrlBucket({ url, region, credentials: () => readBucketCredentials(credentialsFile) });
}

/** What is copied there: the publisher's CRLs, and those of the roots that the ceremony left beside its certificates. */
export function crlSources(paths: Pick<DataPaths, 'crl' | 'ca'>): CrlSource[] {
  return [paths.crl, paths.ca].map((directory) => ({
    names: () => crlNamesIn(directory),
    files: makeCrlDirectory(directory),
  }));
}
