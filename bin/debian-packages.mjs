/** Installs the Debian packages that are missing: as root directly, through sudo where allowed, else by telling how. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { mustRun, run, runAttached, StepError, say, step } from './steps.mjs';

/** Why each is needed: token; compiler for pkcs11js; the independent judges of the story; certificates for npm. */
const RUN = ['softhsm2', 'python3', 'make', 'g++', 'openssl', 'gnutls-bin', 'curl', 'ca-certificates', 'faketime'];

/** Real peers and tools of the tests: Redis, a second PKCS#11 opinion, strongSwan, network namespaces, clocks, traces. */
const TEST = [
  'redis-server',
  'p11-kit',
  'p11-kit-modules',
  'opensc',
  'strongswan-pki',
  'strongswan-swanctl',
  'charon-systemd',
  'libcharon-extra-plugins',
  'libstrongswan-extra-plugins',
  'libstrongswan-standard-plugins',
  'iproute2',
  'nftables',
  'strace',
  'procps',
  'git',
];

/** A peer that one benchmark compares us with. */
const PEER = ['golang-cfssl'];

export const PACKAGE_GROUPS = { run: RUN, test: TEST, peer: PEER };

/** Programs that must be there on a system that is not Debian. */
const PROGRAMS = {
  run: ['softhsm2-util', 'python3', 'make', 'g++', 'openssl', 'ocsptool', 'curl', 'faketime'],
  test: ['redis-server', 'pki', 'swanctl', 'ip', 'nft', 'git'],
  peer: ['cfssl'],
};

export async function installPackages(groups) {
  const wanted = groups.flatMap((group) => PACKAGE_GROUPS[group]);
  if (!existsSync('/usr/bin/dpkg-query')) return checkPrograms(groups, wanted);
  const missing = missingOf(wanted);
  if (missing.length === 0) return;
  const [shell, how] = rootShell(missing);
  say(`Missing system packages: ${missing.join(' ')}`);
  await step(`${missing.length} system packages${how}`, async () => {
    const install = (update) => ['-c', installScript(missing, update)];
    // An empty list of packages knows none; a stale one names versions that are gone: then once more after an update.
    const listed = readdirSync('/var/lib/apt/lists').some(
      (name) => name.endsWith('Packages') || name.includes('Packages.'),
    );
    if (shell.asksPassword) {
      if ((await runAttached(shell.program, [...shell.args, ...install(true)])) === 0) return;
    } else {
      if (listed && (await run(shell.program, [...shell.args, ...install(false)])).code === 0) return;
      await mustRun(
        shell.program,
        [...shell.args, ...install(true)],
        {},
        'Check that the package sources are reachable, then run the same command again.',
      );
    }
    const left = missingOf(missing);
    if (left.length > 0)
      throw new StepError(
        `apt-get did not install ${left.join(', ')}: install them by hand, then run the same command again.`,
      );
  });
}

function missingOf(wanted) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query has placeholders of its own
  const query = spawnSync('dpkg-query', ['-W', '-f=${Package} ${db:Status-Status}\n', ...wanted], { encoding: 'utf8' });
  const installed = new Set(
    query.stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return wanted.filter((name) => !installed.has(name));
}

/**
 * Daemons that packages bring along (redis, charon) must not start listening on this machine: while we install, a
 * policy-rc.d of our own forbids it. One that is there already is the administrator's and stays as it is.
 */
function installScript(packages, update) {
  return [
    'set -e',
    'export DEBIAN_FRONTEND=noninteractive',
    'if [ ! -e /usr/sbin/policy-rc.d ]; then',
    "  printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d",
    "  trap 'rm -f /usr/sbin/policy-rc.d' EXIT; trap 'exit 1' INT TERM",
    'fi',
    ...(update ? ['apt-get update -q'] : []),
    `apt-get install -y -q --no-install-recommends ${packages.join(' ')}`,
  ].join('\n');
}

function rootShell(missing) {
  if (process.getuid() === 0) return [{ program: '/bin/sh', args: [] }, ''];
  if (spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0)
    return [{ program: 'sudo', args: ['-n', '/bin/sh'] }, ' (sudo)'];
  const hasSudo = spawnSync('sudo', ['-V'], { stdio: 'ignore' }).status === 0;
  if (hasSudo && process.stdin.isTTY) {
    say(
      `femtopki needs system packages that are missing (${missing.join(' ')}); sudo asks for your password to install them.`,
    );
    return [{ program: 'sudo', args: ['/bin/sh'], asksPassword: true }, ' (sudo)'];
  }
  throw new StepError(
    `System packages are missing and this account may not install them. As root run:\n\n  apt-get update\n  apt-get install -y --no-install-recommends ${missing.join(' ')}\n\nthen run the same command again.`,
  );
}

function checkPrograms(groups, wanted) {
  const missing = groups
    .flatMap((group) => PROGRAMS[group])
    .filter((name) => spawnSync('/bin/sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status !== 0);
  if (missing.length === 0) return;
  throw new StepError(
    `This is not a Debian or Ubuntu system and these programs are missing: ${missing.join(', ')}. Install them with your package manager (Debian calls the packages ${wanted.join(' ')}), then run the same command again.`,
  );
}
