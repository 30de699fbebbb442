import { readFileSync } from 'node:fs'
import type { CallClass } from '../../../contract/calls.ts'
import { parseJson } from '../../../lib/parse-json.ts'

/**
 * Profile of AppArmor for the programs of a job, by the classes that are open: `policies/apparmor/job.json`. Its text is made of
 * those rules alone, no word of a job is in it. guest/agent/policy.h has its name too.
 */
export const jobProfile = 'mayfly-job'

/** Classes that a profile closes; the others need more of a guest. */
export const profiledCalls: readonly CallClass[] = ['exec', 'network', 'outside']

interface JobPolicy {
  readonly rules: readonly {
    readonly rule: string
    /** Left out where it is closed. */
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
  // Without the flag a file without a name, as of memfd_create(2), is in no rule: the kernel names it "/".
  return `profile ${jobProfile} flags=(attach_disconnected) {\n${lines.join('')}}\n`
}
