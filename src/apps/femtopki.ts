/** The CLI process: talks to the operator API; the commands that need no server open files, tokens and the database. */
import { readFileSync } from 'node:fs';
import { femtopkiProgram, runFemtopki } from '../operator/cli/program.js';
import { offlineTools } from './offline-tools.js';

const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

process.exitCode = await runFemtopki(femtopkiProgram(offlineTools, manifest.version), process.argv.slice(2));
