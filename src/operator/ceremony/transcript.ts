import type { KeyAttributes } from '../../platform/hsm/token.js';

/** What a ceremony did, for people who were not there. Holds no PIN and no key. */
export interface Transcript {
  readonly ceremony: string;
  readonly mode: 'demo' | 'production';
  readonly operator: string;
  readonly realm: string;
  readonly installation: string;
  readonly ceremonyFileSha256: string;
  readonly at: string;
  readonly people: readonly { readonly name: string; readonly role: string; readonly present: boolean }[];
  readonly statement: string;
  readonly tokens: readonly { readonly label: string; readonly serialNumber: string; readonly model: string }[];
  readonly keys: readonly {
    readonly label: string;
    readonly token: string;
    readonly curve: string;
    readonly spkiSha256: string;
    /** As the token reported them, right after generation. */
    readonly attributes: KeyAttributes;
  }[];
  readonly certificates: readonly {
    readonly label: string;
    readonly sha256: string;
    readonly serial: string;
    readonly notAfter: string;
  }[];
  readonly crls: readonly { readonly label: string; readonly sha256: string }[];
}

/**
 * The bytes of transcript.json. transcript.json.sig is a DER ECDSA signature over exactly these by the audit key:
 * `openssl dgst -sha256 -verify audit.pub -signature transcript.json.sig transcript.json`
 */
export function transcriptText(transcript: Transcript): string {
  return `${JSON.stringify(transcript, null, 2)}\n`;
}
