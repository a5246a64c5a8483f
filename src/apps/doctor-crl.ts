import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crlHealth } from '../lifecycle/status/index.js';
import { critical, fine, warning } from '../operator/cli/finding.js';
import type { Config } from '../platform/config/config.js';
import { dataPaths } from '../platform/data-directory.js';
import { hierarchyPath, readHierarchy } from '../platform/hsm/hierarchy.js';
import { crlNamesIn } from '../protocol/crl/crl-directory.js';
import { shardPart } from '../x509/crl-part.js';
import { readCrl } from '../x509/read-crl.js';

/** How far a delta may be behind its complete CRL: the worker tries again within this time. */
const DELTA_BEHIND_MS = 60_000;

export function crlLife(data: string) {
  const labels = readHierarchy(hierarchyPath(data))
    .entries.filter(({ kind, state }) => state === 'active' && kind.endsWith('-ca'))
    .map(({ label }) => label);
  const lives = labels.map((label) => {
    const file = join(dataPaths(data).crl, `${label}.crl`);
    if (!existsSync(file)) return { label, part: 0, number: 'none' };
    const { thisUpdate, nextUpdate, number } = readCrl(readFileSync(file));
    const whole = (nextUpdate?.getTime() ?? 0) - thisUpdate.getTime();
    return { label, part: ((nextUpdate?.getTime() ?? 0) - Date.now()) / whole, number: String(number) };
  });
  const worst = lives.reduce((a, b) => (a.part < b.part ? a : b));
  const text = lives
    .map(({ label, number, part }) => `${label} #${number} ${Math.round(part * 100)} % left`)
    .join(', ');
  if (worst.part <= 0.1)
    return critical(text, 'See that rotation-worker and signer run: gateways refuse units when a CRL ends.');
  return worst.part < 0.5
    ? warning(text, 'A CRL is past half of its life: see the log of rotation-worker.')
    : fine(text);
}

/** Are the deltas and shards there that the settings promise, and does nothing lie there that has ended? */
export async function crlPartsLife(
  dir: string,
  deviceCas: readonly string[],
  { crlDeltas, crlShards }: Pick<Config['status'], 'crlDeltas' | 'crlShards'>,
) {
  const wanted = deviceCas.flatMap((label) =>
    Array.from({ length: crlShards }, (_, index) => `${label}.${shardPart({ count: crlShards, index })}`),
  );
  const lying = (await crlNamesIn(dir)).filter((name) => name.includes('.'));
  const missing = wanted.filter((name) => !lying.includes(name));
  const ended = lying.filter((name) => lifeOf(dir, name).alarm === 'expired');
  const behind = crlDeltas ? lying.filter((name) => name.endsWith('.delta') && isBehind(dir, name)) : [];
  const text = `${lying.length} parts lie published`;
  if (missing.length > 0)
    return critical(
      `${missing.join(', ')} missing`,
      'See the log of rotation-worker: certificates may name these shards.',
    );
  const late = [...new Set([...ended.filter((name) => wanted.includes(name)), ...behind])];
  if (late.length > 0)
    return critical(`${late.join(', ')} no longer follow`, 'See the log of rotation-worker and signer.');
  return ended.length > 0
    ? warning(
        `${ended.join(', ')} ended and nothing follows them`,
        `Remove them from ${dir} and restart status-server.`,
      )
    : fine(crlDeltas || crlShards > 0 ? text : `switched off; ${text}`);
}

export function deviceCaLabels(data: string): string[] {
  return readHierarchy(hierarchyPath(data))
    .entries.filter(({ kind, state }) => state === 'active' && kind === 'device-ca')
    .map(({ label }) => label);
}

function lifeOf(dir: string, name: string) {
  const { thisUpdate, nextUpdate, number } = readCrl(readFileSync(join(dir, `${name}.crl`)));
  return { ...crlHealth({ label: name, thisUpdate, nextUpdate: nextUpdate ?? thisUpdate }, new Date()), number };
}

/** Of a complete CRL that has lain there for a while. */
function isBehind(dir: string, delta: string): boolean {
  const complete = delta.slice(0, -'.delta'.length);
  if (!existsSync(join(dir, `${complete}.crl`))) return false;
  const { number = 0n, thisUpdate } = lifeOf(dir, complete);
  return (lifeOf(dir, delta).number ?? 0n) < number && Date.now() - thisUpdate.getTime() > DELTA_BEHIND_MS;
}

export function rootCrlLife(data: string) {
  const roots = readHierarchy(hierarchyPath(data)).entries.filter(({ kind }) => kind.startsWith('root-'));
  const lives = roots.map(({ label }) => {
    const { thisUpdate, nextUpdate } = readCrl(readFileSync(join(dataPaths(data).ca, `${label}.crl`)));
    return crlHealth({ label, thisUpdate, nextUpdate: nextUpdate ?? thisUpdate }, new Date());
  });
  const soonest = lives.reduce((a, b) => (a.nextUpdate < b.nextUpdate ? a : b));
  const text = `the CRL of ${soonest.label} ends first, ${soonest.nextUpdate.toISOString()}`;
  if (soonest.alarm === 'none') return fine(text);
  const nextStep = 'Hold a ceremony: femtopki ca sign-crls. Strict gateways refuse every unit when a root CRL ends.';
  return soonest.alarm === 'half-life' ? warning(text, nextStep) : critical(text, nextStep);
}
