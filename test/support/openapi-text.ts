import { openApiDocument } from '../../src/operator/api/openapi.js';
import type { OperatorDeps } from '../../src/operator/api/operator-deps.js';
import { operatorRoutes } from '../../src/operator/api/server.js';

/** The document as the file holds it. Routes only close over their dependencies, so none are needed to list them. */
export function openApiText(): string {
  return `${JSON.stringify(openApiDocument(operatorRoutes({} as OperatorDeps)), null, 2)}\n`;
}
