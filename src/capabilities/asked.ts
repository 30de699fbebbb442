import type { IsolatedCapability } from '../contract/capability.ts'
import type { JobRequest } from '../contract/job.ts'

/** What a call of an isolated capability asks for; the arguments are its input. */
export function askedFor(
  { code, language = 'js', entry = 'auto', limits, network, files }: IsolatedCapability,
  args: readonly unknown[],
): JobRequest {
  return {
    code,
    language,
    entry,
    input: args,
    ...(limits && { limits }),
    ...(network !== undefined && { network }),
    ...(files && { files }),
  }
}
