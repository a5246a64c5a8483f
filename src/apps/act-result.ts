/** One act of the story, or one verdict of a drill: who did what, what had to come out, what came out. */
export interface ActResult {
  /** One sentence in the present tense. */
  readonly act: string;
  /** The tool or party whose verdict `got` is: `openssl ocsp`, `strongSwan`, `curl`, … */
  readonly by: string;
  readonly expected: string;
  readonly got: string;
  readonly ok: boolean;
}

/** As a person reads it. */
export function actLine({ act, by, expected, got, ok }: ActResult): string {
  return ok ? `✓ ${act}\n    ${by}: ${got}` : `✗ ${act}\n    ${by}: ${got}\n    expected: ${expected}`;
}
