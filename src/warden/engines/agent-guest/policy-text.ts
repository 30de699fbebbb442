import { readFileSync } from 'node:fs'
import type { CallClass } from '../../../contract/calls.ts'
import { parseJson } from '../../../lib/parse-json.ts'

/**
 * Name of the AppArmor profile for the programs of a job. Its text consists only of the rules in `policies/apparmor/job.json` for
 * the classes that are open, and contains no input of a job. guest/agent/policy.h has the same name.
 */
export const jobProfile = 'mayfly-job'

/** Classes that a profile can close. */
export const profiledCalls: readonly CallClass[] = ['exec', 'network', 'outside']

interface JobPolicy {
  readonly rules: readonly {
    readonly rule: string
    /** The rule is omitted if this class is closed. */
    readonly class?: CallClass
    readonly why: string
  }[]
}

let read: JobPolicy | undefined

export function policyText(open: readonly CallClass[]): string {
  const file = new URL('../../../../policies/apparmor/job.json', import.meta.url)
  read ??= parseJson(readFileSync(file, 'utf8')) as JobPolicy
  const rules = read.rules.filter((one) => one.class === undefined || open.includes(one.class))
  const lines = rules.map(({ rule }) => `  ${rule},\n`)
  // attach_disconnected: without it no rule matches a file without a path, as of memfd_create(2), which the kernel names "/".
  return `profile ${jobProfile} flags=(attach_disconnected) {\n${lines.join('')}}\n`
}
