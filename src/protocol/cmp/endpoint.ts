import { type CmpBody, CmpFault, INFO_TYPE } from '../../x509/cmp/index.js';

/** What the path says about the message that is posted to it. @see RFC 9811 section 3.3; RFC 9483 section 6.1 */
export interface Endpoint {
  /** Name behind `/p/`; null without one. */
  readonly label: string | null;
  /** Operation segment; null without one, and then any body may come. */
  readonly operation: string | null;
}

/** A path of no meaning under CMP's own is an operation that nobody has: its caller gets an answer it can read. */
export function endpointOf(path: string): Endpoint {
  const match = PATH.exec(path);
  return match === null ? { label: null, operation: '' } : { label: match[1] ?? null, operation: match[2] ?? null };
}

/** certConf and pollReq go where their request went. */
const FOLLOW_UPS: ReadonlySet<string> = new Set(['certConf', 'pollReq']);

/** @throws CmpFault badRequest where the path's operation and the body do not belong together */
export function checkOperation({ operation }: Endpoint, body: CmpBody): void {
  if (operation === null || FOLLOW_UPS.has(body.kind)) return;
  const fits = OPERATIONS.get(operation);
  if (fits === undefined || !fits(body)) {
    throw new CmpFault('badRequest', 'the path is for another kind of message', { facts: { body: body.kind } });
  }
}

const isBody =
  (kind: CmpBody['kind']) =>
  (body: CmpBody): boolean =>
    body.kind === kind;
const asksFor =
  (...oids: readonly string[]) =>
  (body: CmpBody): boolean =>
    body.kind === 'genm' && body.items.every(({ oid }) => oids.includes(oid));

const OPERATIONS: ReadonlyMap<string, (body: CmpBody) => boolean> = new Map(
  Object.entries({
    initialization: isBody('ir'),
    certification: isBody('cr'),
    keyupdate: isBody('kur'),
    pkcs10: isBody('p10cr'),
    revocation: isBody('rr'),
    getcacerts: asksFor(INFO_TYPE.caCerts),
    getrootupdate: asksFor(INFO_TYPE.rootCaCert),
    getcertreqtemplate: asksFor(INFO_TYPE.certReqTemplate),
    getcrls: asksFor(INFO_TYPE.crlStatusList, INFO_TYPE.currentCrl),
  }),
);

const PATH = /^\/\.well-known\/cmp(?:\/p\/([A-Za-z0-9._~-]{1,64}))?(?:\/([a-z0-9]{1,32}))?\/?$/;
