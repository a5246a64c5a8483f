/** The kit is plain JavaScript that a gateway runs as it stands; its modules are loaded from there. */
// biome-ignore lint/suspicious/noExplicitAny: modules without declarations
export async function kitModule(name: string): Promise<any> {
  return import(new URL(`../../../deploy/gateway/connector/${name}.mjs`, import.meta.url).href);
}
