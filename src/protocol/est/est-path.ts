import { HOST_LABEL } from '../../lifecycle/registry/index.js';

/** Where the EST router is mounted (RFC 7030 section 3.2.2). */
export const EST_PATH = '/.well-known/est';

export interface EstPath {
  /** Path segment of one maker's model; null on the addresses for everybody. */
  readonly label: string | null;
  readonly operation: string;
}

/**
 * `/.well-known/est[/<label>]/<operation>`, one trailing slash tolerated; null for anything else.
 *
 * @param path  without its query
 */
export function readEstPath(path: string): EstPath | null {
  if (path.length > PATH_CHARACTERS_MAX || !path.startsWith(`${EST_PATH}/`)) return null;
  const segments = path.slice(EST_PATH.length + 1).split('/');
  if (segments.length > 1 && segments.at(-1) === '') segments.pop();
  const [first = '', second, ...rest] = segments;
  if (first === '' || second === '' || rest.length > 0) return null;
  if (second === undefined) return { label: null, operation: first };
  return HOST_LABEL.test(first) ? { label: first, operation: second } : null;
}

const PATH_CHARACTERS_MAX = 256;
