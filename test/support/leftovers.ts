/**
 * What must not outlive this process: namespaces, daemons, installations. Whoever makes one says how it is removed; a program
 * that is interrupted removes what is left, the newest first.
 */
const leftovers = new Set<() => Promise<unknown> | unknown>();

/** @returns to be called once it was removed in the ordinary way */
export function leftover(remove: () => Promise<unknown> | unknown): () => void {
  leftovers.add(remove);
  return () => void leftovers.delete(remove);
}

export async function removeLeftovers(): Promise<void> {
  for (const remove of [...leftovers].reverse()) {
    leftovers.delete(remove);
    // What is half there is removed as far as it goes; the others must go, too.
    await Promise.resolve()
      .then(remove)
      .catch((error: Error) => process.stderr.write(`${error.message}\n`));
  }
}
