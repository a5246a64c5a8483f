import { readdirSync, readFileSync } from 'node:fs';

/** CPU seconds so far of a process, of all that it started, and of those of them that ended. */
export function treeCpuSeconds(root: number): number {
  const parents = new Map<number, { parent: number; seconds: number }>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    const stat = Number.isInteger(pid) ? statOf(pid) : undefined;
    if (stat) parents.set(pid, stat);
  }
  let total = 0;
  for (const [pid, { seconds }] of parents) if (descendsFrom(pid, root, parents)) total += seconds;
  return total;
}

function descendsFrom(pid: number, root: number, parents: ReadonlyMap<number, { parent: number }>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 1; at = parents.get(at)?.parent) {
    if (at === root) return true;
  }
  return false;
}

/** utime, stime, cutime and cstime of /proc/<pid>/stat, in ticks of 1/100 s; the command in parentheses may hold spaces. */
function statOf(pid: number): { parent: number; seconds: number } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0);
    return { parent: Number(fields[1]), seconds: ticks / 100 };
  } catch {
    return undefined; // it ended between the listing and the reading; its parent counts it from now on
  }
}
