import { accesses, type Access, type ExpectedBehavior } from '../contract/anomaly.ts'
import type { Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import { readPattern } from '../contract/pattern.ts'
import type { Verdict } from '../contract/verdict.ts'

/** What analysis calls the things that are an access. */
const namesOf: Readonly<Record<Access, readonly string[]>> = {
  network: ['network'],
  process: ['child-process', 'process'],
  files: ['files'],
}

/**
 * What may be expected of a life, from what is known before it: what analysis saw in the code, and what the profile
 * grants. A language that analysis does not read, and code that it could not parse, may turn out to do anything that
 * its wall allows; of that nothing is said, save where something was granted by name.
 */
export function foreseenOf(
  job: Job,
  verdict: Verdict,
  profile: Profile,
  planted: readonly string[] = [],
): ExpectedBehavior {
  const { controls, limits, schedule } = profile
  const { allow } = controls.network
  const hosts = (allow === 'any' ? [] : allow).flatMap((text) => readPattern(text)?.host ?? [])
  return {
    access: isRead(verdict) ? accessesOf(verdict, hosts.length > 0) : undefined,
    capabilities: controls.capabilities,
    // Its first phase holds before it is released, and is never left for a wider one.
    syscalls: schedule.phases[0]?.controls.syscalls ?? controls.syscalls,
    hosts: hosts.filter((host) => !host.startsWith('*')),
    memory: limits.memory,
    processes: limits.processes,
    cpu: limits.cpu,
    output: limits.output,
    computes: job.asked.labels['class'] === 'compute',
    ownFiles: job.asked.files.map(({ path }) => `/work/${path}`),
    planted: planted.map((path) => `/work/${path}`),
  }
}

function accessesOf({ capabilities }: Verdict, hasHosts: boolean): readonly Access[] {
  return accesses.filter(
    (one) =>
      (one === 'network' && hasHosts) || namesOf[one].some((name) => capabilities.includes(name)),
  )
}

/** JavaScript and what becomes it, read to its end and calling nothing that it makes at run time. */
function isRead({ language, findings, capabilities }: Verdict): boolean {
  const isScript = language === 'js' || language === 'ts' || language === 'node'
  const isHidden = ['eval', 'require', 'import'].some((name) => capabilities.includes(name))
  const isWhole = !findings.some(({ name }) => name === 'UNPARSED' || name === 'UNREAD_DEPENDENCY')
  return isScript && !isHidden && isWhole
}
