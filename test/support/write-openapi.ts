/** Writes docs/openapi.json from the table of routes: `node bin/source.mjs test/support/write-openapi.ts`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openApiText } from './openapi-text.js';

writeFileSync(fileURLToPath(new URL('../../docs/openapi.json', import.meta.url)), openApiText());
