import type { IsolatedCapability } from '../contract/capability.ts'
import type { JobRequest } from '../contract/job.ts'

/** Builds the job request for an isolated capability; the arguments become its input. */
export function capabilityJob(
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
