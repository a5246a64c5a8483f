const NODES_MAX = 16;
const SHAPE = /^(rediss?:\/\/)((?:[^@/?#]*@)?)([^/?#@]+)(\/\d*)?$/;

/**
 * Reads a Redis URL that may name several nodes of one cluster: `redis://:secret@cache1,cache2:7001/0`.
 *
 * @returns one URL a node, in the order written
 * @throws TypeError with a sentence where it is none
 */
export function redisNodes(text: string): string[] {
  if (text.startsWith('unix:') && URL.canParse(text)) return [text];
  const [, scheme = '', user = '', authority = '', path = ''] = SHAPE.exec(text) ?? [];
  const urls = authority.split(',').map((node) => `${scheme}${user}${node}${path}`);
  if (scheme === '' || !urls.every((url) => URL.canParse(url) && new URL(url).hostname !== '')) {
    throw new TypeError('must be a redis URL');
  }
  if (urls.length > NODES_MAX) throw new TypeError(`must name at most ${NODES_MAX} nodes`);
  return urls;
}
