/** One thing that `femtopki doctor` looked at. */
export interface DoctorFinding {
  readonly check: string;
  readonly severity: 'ok' | 'warning' | 'critical';
  readonly evidence: string;
  /** What to do; empty when all is well. */
  readonly nextStep: string;
}

export interface DoctorCheck {
  readonly name: string;
  readonly run: () => Promise<Omit<DoctorFinding, 'check'>>;
}

export const fine = (evidence: string): Omit<DoctorFinding, 'check'> => ({ severity: 'ok', evidence, nextStep: '' });
export const warning = (evidence: string, nextStep: string): Omit<DoctorFinding, 'check'> => ({
  severity: 'warning',
  evidence,
  nextStep,
});
export const critical = (evidence: string, nextStep: string): Omit<DoctorFinding, 'check'> => ({
  severity: 'critical',
  evidence,
  nextStep,
});

/** Runs every check; one that throws is a critical finding itself, never the end of the list. */
export async function examine(checks: readonly DoctorCheck[]): Promise<DoctorFinding[]> {
  const findings: DoctorFinding[] = [];
  for (const { name, run } of checks) {
    const outcome = await run().catch((error: Error) =>
      critical(error.message, 'See the log of the process that this check asked.'),
    );
    findings.push({ check: name, ...outcome });
  }
  return findings;
}
