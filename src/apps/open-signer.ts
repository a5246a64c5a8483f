import type { Config } from '../platform/config/config.js';
import type { DataPaths } from '../platform/data-directory.js';
import { dialHosts } from '../platform/hsm/dial-signer.js';
import { linkKeyPath, openLinkIdentity } from '../platform/hsm/link-identity.js';
import { connectSigner } from '../platform/hsm/signer-client.js';
import type { Signer, SignerRole } from '../platform/signer.js';

/**
 * The signer of this host, or where the configuration names other hosts, the first of them that answers.
 * @throws FemtoError INTERNAL when the link key cannot be used
 */
export function openSigner({ signer }: Config, paths: DataPaths, role: SignerRole): Signer {
  const line = { runDir: paths.run, role };
  if (signer.places.length === 0) return connectSigner(line);
  return connectSigner({ ...line, dial: dialHosts(signer.places, openLinkIdentity(linkKeyPath(paths, role))) });
}
