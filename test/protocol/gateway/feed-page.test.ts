import { execFile } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from '@jest/globals';
import { startGatewayWorld } from '../../support/gateway-world.js';
import { pageCommands } from '../../support/page-commands.js';

test('the commands of docs/gateway.md read, check, acknowledge and wait as they stand there', async () => {
  const world = await startGatewayWorld();
  try {
    const gateway = await world.addGateway('segw-gangnam-1');
    copyFileSync(gateway.pemFile, join(world.dir, 'gateway.pem'));
    copyFileSync(gateway.keyFile, join(world.dir, 'gateway.key'));
    writeFileSync(join(world.dir, 'services-ca.pem'), world.token.entry('services-ca').certificatePem);
    await world.sequence();
    const commands = pageCommands('gateway.md', 'Hear of revocations')
      .replaceAll('localhost:8444', `localhost:${world.gatewayPort}`)
      .replaceAll('wait=25', 'wait=1');
    const run = promisify(execFile);
    const { stdout } = await run('sh', ['-euc', commands], { cwd: world.dir });
    expect(stdout).toContain('feed.pem: OK');
    expect(stdout).toContain('Verified OK');
    const page = JSON.parse(readFileSync(join(world.dir, 'page.json'), 'utf8'));
    expect(page).toMatchObject({ kind: 'resync', gateway: 'segw-gangnam-1', from: '0:0' });
    expect(stdout).toContain(`"received":"${page.to}","enforced":"${page.to}"`);
    expect(readFileSync(join(world.dir, 'page.jws'), 'utf8').split('.')).toHaveLength(3);
  } finally {
    await world.close();
  }
});
