export type MacHash = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** A MAC protection algorithm whose every parameter was checked. `der` is the whole AlgorithmIdentifier: an answer reuses it. */
export type MacAlgorithm =
  | {
      readonly kind: 'pbm';
      readonly der: Buffer;
      readonly salt: Buffer;
      readonly owf: MacHash;
      readonly rounds: number;
      readonly hmac: MacHash;
    }
  | {
      readonly kind: 'pbmac1';
      readonly der: Buffer;
      readonly salt: Buffer;
      readonly prf: MacHash;
      readonly rounds: number;
      readonly keyOctets: number;
      readonly hmac: MacHash;
    };

export function readMacAlgorithm(algorithmDer: Buffer): MacAlgorithm {
  throw new Error(`not read yet: ${algorithmDer.length} bytes`);
}

export function computeMac(algorithm: MacAlgorithm, secret: Buffer, protectedDer: Buffer): Buffer {
  throw new Error(`not computed yet: ${algorithm.kind} ${secret.length} ${protectedDer.length}`);
}

export function verifyMac(algorithm: MacAlgorithm, secret: Buffer, protectedDer: Buffer, mac: Buffer): boolean {
  throw new Error(`not computed yet: ${algorithm.kind} ${secret.length} ${protectedDer.length} ${mac.length}`);
}
