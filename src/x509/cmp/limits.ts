/** One HTTP body; a real kur with a vendor chain of three is under 6 KiB. */
export const CMP_BYTES_MAX = 65_536;

/** Given to the DER gate before any other reader sees the bytes. */
export const CMP_DER_LIMITS = { bytesMax: CMP_BYTES_MAX, depthMax: 32, elementsMax: 5_000 } as const;

export const EXTRA_CERTS_MAX = 20;
/** Members of generalInfo, of freeText and of a genm: real messages have one or two. */
export const INFO_ITEMS_MAX = 16;
/** Members of CertReqMessages, RevReqContent, CertConfirmContent: the profile asks for exactly one. */
export const BODY_ITEMS_MAX = 16;
/** Octets of transactionID, nonces and key identifiers: 16 to 32 are real. */
export const ID_OCTETS_MAX = 128;
/** Characters of one line of freeText or statusString. */
export const TEXT_CHARACTERS_MAX = 1_024;
/** Characters of a regToken, which holds an activation code. */
export const REG_TOKEN_CHARACTERS_MAX = 128;
/** Characters of a certProfile name. */
export const PROFILE_CHARACTERS_MAX = 64;
