/**
 * Somebody with the token's PIN and no part of the service: opens the token itself and signs a certificate with the
 * Device CA's key. A process of its own, because a PKCS#11 module reads its environment once.
 * Usage: node --import bin/ts-loader.mjs outside-signer.ts DATA COMMON_NAME SPKI_PEM; prints the certificate.
 */
import { createHash, createPublicKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hierarchyPath, readHierarchy } from '../../src/platform/hsm/hierarchy.js';
import { readSignerConfig, signerConfigPath } from '../../src/platform/hsm/signer-config.js';
import { openPkcs11Token } from '../../src/platform/hsm/token.pkcs11.js';
import { assembleCertificate, certificatePem } from '../../src/x509/certificate.js';
import { rawToDer } from '../../src/x509/ecdsa.js';
import { leafRequest } from './tbs.js';

const [dataDir = '', commonName = '', keyFile = ''] = process.argv.slice(2);
const issuer = readHierarchy(hierarchyPath(dataDir)).entries.find(({ label }) => label === 'device-ca-1');
if (!issuer) throw new Error('the hierarchy has no device-ca-1');
const { tbs } = leafRequest({ issuer, commonName, publicKey: createPublicKey(readFileSync(keyFile)) });
const token = openPkcs11Token(readSignerConfig(signerConfigPath(dataDir)));
token.key(issuer.label);
const signature = rawToDer(token.sign(issuer.label, createHash('sha256').update(tbs).digest()));
token.close();
process.stdout.write(certificatePem(assembleCertificate(tbs, 'ecdsa-with-SHA256', signature)));
