import { explicitTag, oid, sequence, TAG, tlv } from '../der.js';
import { DerReader, readDer, timeValue } from '../der-reader.js';
import { type GeneralName, readGeneralNames } from '../general-name.js';
import { faultAs } from './cmp-fault.js';
import { BODY_ITEMS_MAX } from './limits.js';

// caCerts, crls and signKeyPairTypes are plain SEQUENCE OF what they hold, currentCRL and rootCaCert one element: nothing
// to build. The values below have fields of their own.

/** RootCaKeyUpdateContent. @see RFC 9810 section 5.3.19.15 */
export function rootCaKeyUpdateValue(certificates: {
  newWithNew: Buffer;
  newWithOld?: Buffer;
  oldWithNew?: Buffer;
}): Buffer {
  const { newWithNew, newWithOld, oldWithNew } = certificates;
  return sequence(
    newWithNew,
    newWithOld === undefined ? NOTHING : explicitTag(0, newWithOld),
    oldWithNew === undefined ? NOTHING : explicitTag(1, oldWithNew),
  );
}

/**
 * CertReqTemplateContent: what a request should look like. Everything given here is preset; what is left out is the
 * unit's own business.
 *
 * @param template.subjectDer     whole Name; an empty one asks the unit to fill it
 * @param template.extensions     whole Extensions, DER each
 * @param template.keyAlgorithms  key types to choose from: AlgorithmIdentifier of a SubjectPublicKeyInfo, DER each
 * @see RFC 9810 section 5.3.19.16
 */
export function certReqTemplateValue(template: {
  subjectDer?: Buffer;
  extensions?: readonly Buffer[];
  keyAlgorithms?: readonly Buffer[];
}): Buffer {
  const { subjectDer, extensions = [], keyAlgorithms = [] } = template;
  return sequence(
    sequence(
      subjectDer === undefined ? NOTHING : explicitTag(5, subjectDer),
      extensions.length === 0 ? NOTHING : tlv(0xa9, ...extensions),
    ),
    keyAlgorithms.length === 0
      ? NOTHING
      : sequence(...keyAlgorithms.map((algorithmDer) => sequence(ALG_ID_CONTROL, algorithmDer))),
  );
}

const NOTHING = Buffer.alloc(0);
/** id-regCtrl-algId. */
const ALG_ID_CONTROL = oid('1.3.6.1.5.5.7.5.1.11');

/** Which CRL a unit has, or wants. */
export interface CrlStatusView {
  /** `point`: full names of a distribution point; `issuer`: names of the CRL's issuer. */
  readonly source: { readonly kind: 'point' | 'issuer'; readonly names: readonly GeneralName[] };
  /** Of the CRL it has; absent where it has none. */
  readonly thisUpdate?: Date;
}

/**
 * Value of a crlStatusList entry.
 *
 * @throws CmpFault badDataFormat
 * @see RFC 9810 section 5.3.19.17
 */
export function readCrlStatusList(valueDer: Buffer): CrlStatusView[] {
  return faultAs('badDataFormat', () => {
    const list = readDer(valueDer, TAG.SEQUENCE, 'crlStatusList');
    const statuses: CrlStatusView[] = [];
    while (!list.atEnd) {
      if (statuses.length === BODY_ITEMS_MAX) list.fail(`has more than ${BODY_ITEMS_MAX} members`);
      const fields = list.enter(TAG.SEQUENCE, 'CRLStatus');
      const source = readSource(fields);
      const thisUpdate = fields.atEnd ? undefined : timeValue(fields.next(), 'thisUpdate');
      fields.end();
      statuses.push(thisUpdate === undefined ? { source } : { source, thisUpdate });
    }
    return statuses;
  });
}

/** CRLSource: both alternatives are explicitly tagged, and a DistributionPointName is itself a CHOICE. */
function readSource(fields: DerReader): CrlStatusView['source'] {
  const point = fields.optional(0xa0);
  const outer = new DerReader((point ?? fields.expect(0xa1, 'source')).content, 'source');
  const names = outer.enter(point === undefined ? TAG.SEQUENCE : 0xa0, 'source');
  outer.end();
  return { kind: point === undefined ? 'issuer' : 'point', names: readGeneralNames(names, 'source') };
}
