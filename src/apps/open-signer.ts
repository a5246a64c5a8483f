import { resolve } from 'node:path';
import type { Config } from '../platform/config/config.js';
import { dialHosts } from '../platform/hsm/dial-signer.js';
import { openLinkIdentity } from '../platform/hsm/link-identity.js';
import { connectSigner } from '../platform/hsm/signer-client.js';
import type { Signer, SignerRole } from '../platform/signer.js';

/**
 * The signer of this host, or where the configuration names other hosts, the first of them that answers.
 * @throws FemtoError INTERNAL when the link key cannot be used
 */
export function openSigner(config: Config, runDir: string, role: SignerRole): Signer {
  const { places, keyFile } = config.signer;
  if (places.length === 0) return connectSigner({ runDir, role });
  return connectSigner({ runDir, role, dial: dialHosts(places, openLinkIdentity(resolve(keyFile))) });
}
