/**
 * Settings from the environment: `listen.enrol.port` is FEMTOPKI_LISTEN_ENROL_PORT, derived from the schema so that no
 * list can lag behind it. DATABASE_URL and REDIS_URL carry their usual names; either may be NAME_FILE, a file's path.
 */
import { readFileSync } from 'node:fs';
import { z } from 'zod';

export interface Setting {
  readonly path: readonly string[];
  readonly variable: string;
  readonly schema: z.core.$ZodType;
  readonly example: unknown;
}

/** Read by the loader itself. */
export const CONFIG_FILE_VARIABLE = 'FEMTOPKI_CONFIG';
const USUAL_NAMES: Readonly<Record<string, string>> = {
  FEMTOPKI_DATABASE_URL: 'DATABASE_URL',
  FEMTOPKI_REDIS_URL: 'REDIS_URL',
};

/** Every leaf of the schema. */
export function settingsOf(schema: z.core.$ZodType, path: readonly string[] = []): Setting[] {
  const inner = unwrap(schema);
  if (inner instanceof z.ZodObject) {
    return Object.entries(inner.shape as Record<string, z.core.$ZodType>).flatMap(([name, part]) =>
      settingsOf(part, [...path, name]),
    );
  }
  const derived = `FEMTOPKI_${path.map((name) => name.replace(/([A-Z])/g, '_$1').toUpperCase()).join('_')}`;
  return [
    { path, variable: USUAL_NAMES[derived] ?? derived, schema: inner, example: exampleOf(schema) ?? exampleOf(inner) },
  ];
}

/** The environment as a tree to lay over the file's, and what is wrong with it. */
export function fromEnvironment(
  settings: readonly Setting[],
  env: NodeJS.ProcessEnv,
): { tree: Tree; faults: string[] } {
  const tree: Tree = {};
  const faults: string[] = [];
  const known = new Set([CONFIG_FILE_VARIABLE]);
  for (const setting of settings) {
    const fileVariable = `${setting.variable}_FILE`;
    known.add(setting.variable).add(fileVariable);
    const value = env[setting.variable];
    const file = env[fileVariable];
    if (value !== undefined && file !== undefined)
      faults.push(`${setting.variable} and ${fileVariable} are both set: keep one`);
    else if (value !== undefined) plant(tree, setting.path, typed(setting.schema, value));
    else if (file !== undefined) {
      try {
        plant(tree, setting.path, typed(setting.schema, readFileSync(file, 'utf8').trim()));
      } catch (cause) {
        faults.push(`${fileVariable} names ${file}, which cannot be read (${(cause as NodeJS.ErrnoException).code})`);
      }
    }
  }
  for (const name of Object.keys(env)) {
    if (name.startsWith('FEMTOPKI_') && !known.has(name))
      faults.push(`${name} is no setting of femtopki: check its spelling`);
  }
  return { tree, faults };
}

/**
 * The process's environment less every setting: what a child gets that reads its settings from a file alone, so that no
 * setting reaches it by two ways and no URL with a password is inherited.
 */
export function environmentWithoutSettings(env: NodeJS.ProcessEnv = process.env): NodeJS.ProcessEnv {
  const isSetting = (name: string): boolean =>
    name.startsWith('FEMTOPKI_') || /^(DATABASE|REDIS)_URL(_FILE)?$/.test(name);
  return Object.fromEntries(Object.entries(env).filter(([name]) => !isSetting(name)));
}

export interface Tree {
  [name: string]: unknown;
}

export function plant(tree: Tree, path: readonly string[], value: unknown): void {
  let at = tree;
  for (const name of path.slice(0, -1)) {
    const present = at[name];
    const next: Tree = isTree(present) ? present : {};
    at[name] = next;
    at = next;
  }
  const last = path.at(-1);
  if (last !== undefined) at[last] = value;
}

/** Lays `over` on `base`, object by object. */
export function overlay(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const below = merged[name];
    merged[name] = isTree(value) && isTree(below) ? overlay(below, value) : value;
  }
  return merged;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Text of an environment variable as the schema's kind; what does not convert stays text for the schema to refuse. */
function typed(schema: z.core.$ZodType, text: string): unknown {
  if (schema instanceof z.ZodNumber) return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text;
  if (schema instanceof z.ZodBoolean) return text === 'true' ? true : text === 'false' ? false : text;
  if (schema instanceof z.ZodArray)
    return text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== '');
  return text;
}

function unwrap(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault)
    return unwrap(schema.unwrap());
  return schema;
}

function exampleOf(schema: z.core.$ZodType): unknown {
  return (schema as z.ZodType).meta()?.['example'];
}
