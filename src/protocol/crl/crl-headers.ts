/** RFC 5280 section 4.2.1.13, RFC 2585. */
export const CRL_MEDIA_TYPE = 'application/pkix-crl';

/** max-age 30 s whatever nextUpdate says: a revocation must be fetchable within a minute (rules 6.3, S7). */
export const CRL_CACHE_CONTROL = 'max-age=30, public, no-transform, must-revalidate';
