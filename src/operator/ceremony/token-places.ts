/** Where a ceremony's tokens live: two SoftHSM stores of our making, or the slots of the operator's own module. */
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ModuleSettings } from '../../platform/hsm/token.js';

export interface TokenPlaces {
  readonly online: ModuleSettings;
  readonly offline: ModuleSettings;
}

/**
 * SoftHSM keeps tokens in a folder: the roots get a folder of their own that the signer's configuration does not name,
 * so that no process of the running installation can even see them. Any other module is used as it is.
 */
export function prepareTokenPlaces(dataDir: string, module: ModuleSettings, at: Date): TokenPlaces {
  if (!isSoftHsm(module)) return { online: module, offline: module };
  return {
    online: softhsmStore(module, join(dataDir, 'signer'), at),
    offline: softhsmStore(module, join(dataDir, 'ca', 'offline'), at),
  };
}

/** Where the roots' tokens are since the ceremony. */
export function offlineTokenPlace(dataDir: string, module: ModuleSettings): ModuleSettings {
  if (!isSoftHsm(module)) return module;
  const config = resolve(dataDir, 'ca', 'offline', 'softhsm2.conf');
  return { path: module.path, environment: { ...module.environment, SOFTHSM2_CONF: config } };
}

function isSoftHsm({ path }: ModuleSettings): boolean {
  return /softhsm/i.test(path);
}

function softhsmStore(module: ModuleSettings, folder: string, at: Date): ModuleSettings {
  const tokens = resolve(folder, 'tokens');
  // Tokens without a hierarchy are what an interrupted ceremony left. They are moved, never deleted: keys may be in them.
  if (existsSync(tokens)) renameSync(tokens, `${tokens}-unfinished-${at.getTime()}`);
  mkdirSync(tokens, { recursive: true, mode: 0o700 });
  const config = resolve(folder, 'softhsm2.conf');
  writeFileSync(config, softhsmConf(tokens), { mode: 0o640 });
  return { path: module.path, environment: { ...module.environment, SOFTHSM2_CONF: config } };
}

/** hsm-config/softhsm2.conf with its place filled in. */
export function softhsmConf(tokensDir: string): string {
  return [
    `directories.tokendir = ${tokensDir}`,
    'objectstore.backend = file',
    'log.level = ERROR',
    'slots.removable = false',
    'slots.mechanisms = ALL',
    '',
  ].join('\n');
}
