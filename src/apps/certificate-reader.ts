import { pgCredentialReader } from '../lifecycle/enrolment/credential-reader.pg.js';
import type { CredentialReader } from '../lifecycle/enrolment/index.js';
import { certificateReader } from '../lifecycle/issuance/certificate-reader.pg.js';
import type { CertificateReader as RecordReader } from '../lifecycle/issuance/index.js';
import type { BlockedKeyReader } from '../lifecycle/revocation/index.js';
import { blockedKeyReader } from '../lifecycle/revocation/revocation-store.pg.js';
import type { CredentialStatusReader } from '../lifecycle/status/index.js';
import { credentialStatusReader } from '../lifecycle/status/status-row-store.pg.js';

/** What a door asks of a certificate that it is shown; each part from the room whose table it is. */
export type CertificateReader = RecordReader & CredentialReader & CredentialStatusReader & BlockedKeyReader;

export const pgCertificateReader: CertificateReader = {
  ...certificateReader,
  ...pgCredentialReader,
  ...credentialStatusReader,
  ...blockedKeyReader,
};
