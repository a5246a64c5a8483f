/** What every CMP answer is from, as openssl writes it; docs/cmp.md tells clients to insist on it. */
export const RA_SUBJECT = '/O=Hanbit Mobile/OU=cmp-ra/CN=enrol-server-cmp';
