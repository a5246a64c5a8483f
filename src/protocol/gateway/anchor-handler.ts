import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import type { AskingGateway } from '../../lifecycle/admission/index.js';
import type { Issuer } from '../../lifecycle/model/index.js';
import type { CaOffice, IssuerDirectory } from '../../lifecycle/registry/index.js';
import { certificatePem, readCertificate } from '../../x509/certificate.js';
import { readJsonBody } from '../rest/body.js';

const CERTIFICATES_MAX = 64;
const ackBody = z.strictObject({
  certificates: z
    .array(z.string().regex(/^[0-9a-f]{64}$/))
    .min(1)
    .max(CERTIFICATES_MAX),
});

/** What a gateway must know before anything is issued under it: Access Roots, their links, Device CAs (rules 1.3). */
export interface AnchorHandler {
  /** `GET /v1/anchors`. A new root is to be believed for its `newWithOld`, which a root already trusted has signed. */
  list(): Promise<object>;
  /** `POST /v1/anchors/acks`: the gateway trusts these roots, and chains of these CAs lead to them. */
  acknowledge(gateway: AskingGateway, request: IncomingMessage): Promise<object>;
}

export function makeAnchorHandler(deps: {
  readonly issuers: Pick<IssuerDirectory, 'all' | 'successions' | 'refresh'>;
  readonly caOffice: Pick<CaOffice, 'acknowledge'>;
}): AnchorHandler {
  return {
    list: async () => {
      const all = await deps.issuers.all();
      const labelOf = (id: number): string | null => all.find((issuer) => issuer.id === id)?.label ?? null;
      const links = await deps.issuers.successions();
      return {
        roots: all.filter(({ kind, state }) => kind === 'root-access' && state !== 'retired').map(shown),
        links: links.map(({ predecessorId, successorId, newWithOld, oldWithNew }) => ({
          from: labelOf(predecessorId),
          to: labelOf(successorId),
          newWithOld: certificatePem(newWithOld),
          oldWithNew: certificatePem(oldWithNew),
        })),
        cas: all.filter(({ kind, state }) => kind === 'device-ca' && state !== 'retired').map(shown),
      };
    },
    acknowledge: async (gateway, request) => {
      const { certificates } = await readJsonBody(request, ackBody);
      const acknowledged: string[] = [];
      for (const certificateSha256 of certificates) {
        const ack = { gateway: gateway.name, certificateSha256, actor: `machine:${gateway.name}` };
        acknowledged.push((await deps.caOffice.acknowledge(ack)).label);
      }
      return { gateway: gateway.name, acknowledged };
    },
  };
}

function shown({ label, state, certificateDer }: Issuer): object {
  return {
    label,
    state,
    sha256: readCertificate(certificateDer).fingerprint,
    certificate: certificatePem(certificateDer),
  };
}
