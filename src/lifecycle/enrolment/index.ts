/**
 * From factory identity to the first operational certificate.
 * Promises: nothing is issued without proof of the bootstrap key, an open grant for this unit and line, and a fresh key;
 * a code alone is worth nothing; only tries that proved the key count, and five lock the grant; the same request gets
 * the same certificate; a second live claim after the first was confirmed holds both.
 */
export type * from './credential.js';
export type * from './enrolment.js';
