/** Holds a later ceremony in a process of its own, for the reason of ceremony-child.ts. Arguments: FILE DATA MODULE STATUS_URL. */
import { extensionWithTokens } from '../../src/apps/ceremony.js';

const [file = '', dataDir = '', modulePath = '', statusUrl = ''] = process.argv.slice(2);
extensionWithTokens({ file, dataDir, module: { path: modulePath, environment: {} }, statusUrl }, () => undefined);
