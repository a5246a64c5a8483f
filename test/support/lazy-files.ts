/** A unit's files whose unsynced writes exist in memory only, so that a SIGKILL loses exactly what a power cut would. */
import { type DeviceFiles, deviceFiles } from '../../src/agent/device-files.js';

export function lazyFiles(dir: string): DeviceFiles {
  const real = deviceFiles(dir);
  const unsynced = new Map<string, Buffer>();
  const renames: { from: string; to: string }[] = [];
  const seen = new Map<string, Buffer>();
  return {
    read: (name) => seen.get(name) ?? real.read(name),
    write: (name, content) => {
      unsynced.set(name, content);
      seen.set(name, content);
    },
    sync: (name) => {
      const content = unsynced.get(name);
      if (content === undefined) return;
      real.write(name, content);
      real.sync(name);
      unsynced.delete(name);
    },
    rename: (from, to) => {
      const content = seen.get(from);
      if (content !== undefined) seen.set(to, content);
      seen.delete(from);
      renames.push({ from, to });
    },
    syncDirectory: () => {
      for (const { from, to } of renames.splice(0)) real.rename(from, to);
      real.syncDirectory();
    },
  };
}
