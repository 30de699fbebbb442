import { accesses, type Access, type ExpectedBehavior } from '../contract/anomaly.ts'
import type { Job } from '../contract/job.ts'
import type { Profile } from '../contract/profile.ts'
import { readPattern } from '../contract/pattern.ts'
import type { Verdict } from '../contract/verdict.ts'
import type { Honeytoken } from './honeytokens.ts'

/** Capability names of the analysis, by kind of access. */
const namesOf: Readonly<Record<Access, readonly string[]>> = {
  network: ['network'],
  process: ['child-process', 'process'],
  files: ['files'],
}

/**
 * Expected behaviour of a life, from the analysis of its code and its grants. For languages that analysis does not
 * read, for code it cannot parse, and for a session, whose code arrives later, everything that the wall permits is
 * expected, except for explicit grants.
 */
export function foreseenOf(
  job: Job,
  verdict: Verdict,
  profile: Profile,
  planted: readonly Honeytoken[] = [],
): ExpectedBehavior {
  const { controls, limits, schedule } = profile
  const { allow } = controls.network
  const hosts = (allow === 'any' ? [] : allow).flatMap((text) => readPattern(text)?.host ?? [])
  return {
    access: isRead(verdict) && !job.session ? accessesOf(verdict, hosts.length > 0) : undefined,
    capabilities: controls.capabilities,
    // The first phase is in force before the release, and no later phase is wider.
    syscalls: schedule.phases[0]?.controls.syscalls ?? controls.syscalls,
    hosts: hosts.filter((host) => !host.startsWith('*')),
    memory: limits.memory,
    processes: limits.processes,
    cpu: limits.cpu,
    output: limits.output,
    computes: job.asked.labels['class'] === 'compute',
    ownFiles: job.asked.files.map(({ path }) => `/work/${path}`),
    planted: planted.flatMap(({ file }) => (file ? [`/work/${file.path}`] : [])),
  }
}

function accessesOf({ capabilities }: Verdict, hasHosts: boolean): readonly Access[] {
  return accesses.filter(
    (one) =>
      (one === 'network' && hasHosts) || namesOf[one].some((name) => capabilities.includes(name)),
  )
}

/** True for JavaScript and TypeScript parsed completely, without dynamic code (eval, require, import). */
function isRead({ language, findings, capabilities }: Verdict): boolean {
  const isScript = language === 'js' || language === 'ts' || language === 'node'
  const isHidden = ['eval', 'require', 'import'].some((name) => capabilities.includes(name))
  const isWhole = !findings.some(({ name }) => name === 'UNPARSED' || name === 'UNREAD_DEPENDENCY')
  return isScript && !isHidden && isWhole
}
