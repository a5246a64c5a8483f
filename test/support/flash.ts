/**
 * Flash memory whose power can go: what was not synced is lost, kept or half kept, each by the toss of a coin, as file
 * systems do. Names and contents are separate: a synced file may still be under its old name.
 */
import type { DeviceFiles } from '../../src/agent/device-files.js';

interface Inode {
  /** What is on the medium for sure; null: nothing ever was. */
  durable: Buffer | null;
  /** What the running system sees. */
  seen: Buffer;
}

export interface Flash {
  /** The files as the running unit sees them. After {@link cut} this view is dead: its calls never return. */
  mount(): DeviceFiles;
  /** The power goes. */
  cut(): void;
  /** What is on the medium, for tests of the flash itself. */
  content(name: string): Buffer | null;
}

/** @param toss  a number in [0, 1) a call */
export function makeFlash(toss: () => number, initial: Readonly<Record<string, Buffer>> = {}): Flash {
  let durableNames = new Map<string, Inode>(
    Object.entries(initial).map(([name, bytes]) => [name, { durable: bytes, seen: bytes }]),
  );
  let names = new Map(durableNames);
  let epoch = 0;
  return {
    mount: () => {
      const mine = epoch;
      const live = <T>(work: () => T): T => {
        // A program without power does nothing more: not even an exception runs its finally blocks.
        if (mine !== epoch) throw new PowerIsGone();
        return work();
      };
      return {
        read: (name) => live(() => names.get(name)?.seen ?? null),
        write: (name, content) =>
          live(() => {
            const known = names.get(name);
            if (known === undefined) names.set(name, { durable: null, seen: Buffer.from(content) });
            else known.seen = Buffer.from(content);
          }),
        sync: (name) =>
          live(() => {
            const inode = names.get(name);
            if (inode !== undefined) inode.durable = inode.seen;
          }),
        rename: (from, to) =>
          live(() => {
            const inode = names.get(from);
            if (inode === undefined) throw new Error(`no file ${from}`);
            names.set(to, inode);
            names.delete(from);
          }),
        syncDirectory: () =>
          live(() => {
            durableNames = new Map(names);
          }),
      };
    },
    cut: () => {
      epoch += 1;
      const after = new Map<string, Inode>();
      for (const name of new Set([...durableNames.keys(), ...names.keys()])) {
        const [old, fresh] = [durableNames.get(name), names.get(name)];
        const kept = old === fresh || toss() < 0.5 ? old : fresh;
        if (kept !== undefined) after.set(name, kept);
      }
      for (const inode of new Set(after.values())) {
        inode.durable = afterCut(inode, toss);
        inode.seen = inode.durable;
      }
      durableNames = after;
      names = new Map(after);
    },
    content: (name) => durableNames.get(name)?.durable ?? null,
  };
}

export class PowerIsGone extends Error {}

function afterCut({ durable, seen }: Inode, toss: () => number): Buffer {
  if (durable?.equals(seen)) return durable;
  const luck = toss();
  if (luck < 1 / 3) return durable ?? Buffer.alloc(0);
  return luck < 2 / 3 ? seen.subarray(0, Math.floor(seen.length * toss())) : seen;
}
