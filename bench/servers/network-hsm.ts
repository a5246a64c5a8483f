import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SignerConfig } from '../../src/platform/hsm/signer-config.js';

const SOURCE = fileURLToPath(new URL('./network-hsm.c', import.meta.url));
const HEADERS = fileURLToPath(new URL('../../node_modules/pkcs11js/includes', import.meta.url));
const BUILT = fileURLToPath(new URL('../../.cache/network-hsm.so', import.meta.url));

/** Puts the delays of network-hsm.c between the signer and its token; compiled where pkcs11js itself was. */
export function behindNetwork({ module }: SignerConfig): void {
  if (!existsSync(BUILT) || statSync(BUILT).mtimeMs < statSync(SOURCE).mtimeMs) compile();
  const { environment } = module;
  environment['NETWORK_HSM_MODULE'] = module.path;
  // Beside SoftHSM's own file, which is of this token alone and goes with it.
  environment['NETWORK_HSM_CLOCK'] = join(dirname(environment['SOFTHSM2_CONF'] ?? ''), 'network-hsm.clock');
  module.path = BUILT;
}

function compile(): void {
  mkdirSync(dirname(BUILT), { recursive: true });
  const draft = `${BUILT}.${process.pid}`;
  execFileSync('cc', ['-shared', '-fPIC', '-O2', '-Wall', `-I${HEADERS}`, '-o', draft, SOURCE, '-ldl'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  renameSync(draft, BUILT);
}
