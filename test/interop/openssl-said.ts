/** What one run of `openssl cmp` shows of the other side. */
import { readPkiMessage } from '../../src/x509/cmp/index.js';

/** The failInfo that openssl prints; where it prints none all that it said, and for a run that went well that it did. */
export function refusalOf({ code, text }: { readonly code: number | null; readonly text: string }): string {
  if (code === 0) return 'not refused';
  return /PKIFailureInfo: (\w+)/.exec(text)?.[1] ?? text;
}

/** Kinds of the messages in files that -reqout and -rspout wrote. */
export function kindsOf(messages: readonly Buffer[]): string[] {
  return messages.map((der) => readPkiMessage(der).body.kind);
}
