import { FemtoError } from '../../platform/errors.js';
import type { Signer } from '../../platform/signer.js';
import { verifySignature } from '../../x509/signature-algorithm.js';
import type { Spki } from '../../x509/spki.js';
import type { BuiltCrl } from './build-crl.js';
import type { CrlIssuer } from './crl-store.js';

/**
 * The whole CRL, its signature checked under the CA's key.
 *
 * @throws FemtoError of the signer; HSM_UNAVAILABLE where the signature does not verify
 */
export async function signCrl(signer: Signer, issuer: CrlIssuer, spki: Spki, built: BuiltCrl): Promise<Buffer> {
  const { tbsDer } = built.draft;
  const [result] = await signer.sign([
    { purpose: 'crl', keyLabel: issuer.keyLabel, name: `crl:${issuer.keyLabel}:${built.number}`, tbs: tbsDer },
  ]);
  if (!result?.ok) {
    throw new FemtoError(
      result?.code ?? 'HSM_UNAVAILABLE',
      `The signer did not sign the CRL of ${issuer.label}: ${result?.message ?? 'no answer'} The old CRL stays; see the signer's log.`,
      { facts: { issuer: issuer.label, number: built.number } },
    );
  }
  if (!verifySignature(built.algorithm, tbsDer, spki, result.signature)) {
    throw new FemtoError(
      'HSM_UNAVAILABLE',
      `The token's signature on the CRL of ${issuer.label} does not verify; check the token.`,
      {
        facts: { issuer: issuer.label, number: built.number },
      },
    );
  }
  return built.draft.assemble(result.signature);
}
