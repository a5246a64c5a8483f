/** Shows preparation as it goes: a line when a step starts to be slow, at least every 3 s, and ✓ or ✗ with its seconds. */
import { spawn } from 'node:child_process';
import { appendFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const CACHE = join(ROOT, '.cache');
const HEARTBEAT_MS = 2_500;
const LOG = join(CACHE, 'prepare.log');

/** A failure whose message is already a sentence with the next step: shown without a stack. */
export class StepError extends Error {}

export function say(line) {
  process.stderr.write(`${line}\n`);
}

/** Runs one step under its label. */
export async function step(label, work) {
  const started = Date.now();
  const seconds = () => `${((Date.now() - started) / 1000).toFixed(1)} s`;
  say(`  ${label} …`);
  const heartbeat = setInterval(() => say(`  … ${label} (${seconds()})`), HEARTBEAT_MS);
  try {
    const value = await work();
    say(`✓ ${label} (${seconds()})`);
    return value;
  } catch (error) {
    say(`✗ ${label} (${seconds()})`);
    throw error;
  } finally {
    clearInterval(heartbeat);
  }
}

/**
 * Runs a program, its output into .cache/prepare.log.
 * @returns {Promise<{code: number, output: string}>} never rejects for a non-zero exit; a missing program is code 127
 */
export function run(program, args, options = {}) {
  mkdirSync(CACHE, { recursive: true });
  appendFileSync(LOG, `\n$ ${program} ${args.join(' ')}\n`);
  return new Promise((done) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    let output = '';
    const take = (chunk) => {
      output += chunk;
      appendFileSync(LOG, chunk);
    };
    child.stdout?.on('data', take);
    child.stderr?.on('data', take);
    child.once('error', (error) => done({ code: 127, output: `${output}${error.message}` }));
    child.once('close', (code) => done({ code: code ?? 1, output }));
  });
}

/** Like run, but a non-zero exit is a StepError that ends with the program's last lines and the next step. */
export async function mustRun(program, args, options, nextStep) {
  const { code, output } = await run(program, args, options);
  if (code === 0) return output;
  const tail = output.trimEnd().split('\n').slice(-25).join('\n');
  throw new StepError(
    `${tail}\n\n"${program} ${args.slice(0, 4).join(' ')}" ended with ${code}. ${nextStep} (Everything it printed: ${LOG})`,
  );
}

/** Runs in the foreground with our own terminal; resolves with the exit code. */
export function runAttached(program, args, options = {}) {
  return new Promise((done) => {
    const child = spawn(program, args, { cwd: ROOT, stdio: 'inherit', ...options });
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal));
    child.once('error', (error) => {
      say(`${program}: ${error.message}`);
      done(127);
    });
    child.once('close', (code, signal) => done(code ?? (signal ? 1 : 0)));
  });
}

/** Entry of every script here: a StepError is its sentence, anything else its stack; both exit 1. */
export async function main(work) {
  try {
    process.exitCode = (await work()) ?? 0;
  } catch (error) {
    say(error instanceof StepError ? `\n${error.message}` : error.stack);
    process.exitCode = 1;
  }
}
