/**
 * Lets Node run our TypeScript sources directly: `node --import ./bin/ts-loader.mjs file.ts`. For benches, drills, fuzz
 * targets and test support only; what ships is compiled by tsc. Types are stripped by swc, exactly as Jest does it here.
 */
import { register } from 'node:module';

register('./ts-loader-hooks.mjs', import.meta.url);
