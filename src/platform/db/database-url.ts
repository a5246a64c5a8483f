/** One server: a name or address, or the directory of a socket. */
export interface DatabasePlace {
  readonly host: string;
  readonly port: number;
}

export interface DatabaseUrl {
  /** The URL with its first server alone. */
  readonly url: string;
  /** At least one, in the order written. */
  readonly places: readonly DatabasePlace[];
}

const PORT_DEFAULT = 5432;
const PLACES_MAX = 8;
const SHAPE = /^(postgres(?:ql)?:\/\/)((?:[^@/?#]*@)?)([^/?#@]*)((?:[/?#].*)?)$/;
const PLACE = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/;

/**
 * Reads a PostgreSQL URL that may name several servers, as libpq writes it: `postgresql://femtopki@db1,db2:5433/femtopki`, or
 * `postgresql:///femtopki?host=/run/a,/run/b&port=5432` (libpq, 34.1.1.2).
 *
 * @throws TypeError with a sentence where it is none
 */
export function parseDatabaseUrl(text: string): DatabaseUrl {
  const [, scheme = '', user = '', authority = '', rest = ''] = SHAPE.exec(text) ?? [];
  if (scheme === '') throw new TypeError('must be a postgresql URL');
  const [path = '', search = ''] = splitOnce(rest, '?');
  const params = new URLSearchParams(search);
  const places = params.has('host') ? placesOfParams(params) : placesOfAuthority(authority);
  if (places.length > PLACES_MAX) throw new TypeError(`must name at most ${PLACES_MAX} servers`);
  if (places.length > 1 && params.has('host')) params.set('host', places[0]?.host ?? '');
  if (places.length > 1 && params.has('port')) params.set('port', String(places[0]?.port));
  const [first = ''] = authority.split(',');
  const url =
    places.length === 1 ? text : `${scheme}${user}${first}${path}${[...params].length > 0 ? `?${params}` : ''}`;
  if (!URL.canParse(url)) throw new TypeError('must be a postgresql URL');
  return { url, places };
}

function placesOfAuthority(authority: string): DatabasePlace[] {
  return authority.split(',').map((place) => {
    const [, host, port] = PLACE.exec(place === '' ? 'localhost' : place) ?? [];
    if (host === undefined) throw new TypeError(`names no server in "${place}"`);
    return { host: host.replace(/^\[|\]$/g, ''), port: portOf(port) };
  });
}

function placesOfParams(params: URLSearchParams): DatabasePlace[] {
  const hosts = (params.get('host') ?? '').split(',');
  const ports = (params.get('port') ?? '').split(',');
  return hosts.map((host, at) => ({ host, port: portOf(ports.length === 1 ? ports[0] : ports[at]) }));
}

function portOf(text: string | undefined): number {
  if (text === undefined || text === '') return PORT_DEFAULT;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new TypeError(`has no port "${text}"`);
  return port;
}

function splitOnce(text: string, at: string): [string, string] {
  const index = text.indexOf(at);
  return index < 0 ? [text, ''] : [text.slice(0, index), text.slice(index + 1)];
}
