import { plainFiles } from '../contract/files.ts'
import { grantsNetwork, type Controls } from '../contract/controls.ts'
import type { Profile } from '../contract/profile.ts'
import type { Task } from '../contract/provider.ts'
import { deepFreeze } from '../lib/deep-freeze.ts'
import { parseJson } from '../lib/parse-json.ts'
import type { ExecutionContext, FileSystemPolicy, NetworkPolicy } from './microvm-contract.ts'

const MB = 2 ** 20

/** Converts a task to the context of a custom provider. */
export function contextOf(
  task: Task,
  { controls, limits, capability = '' }: Profile,
): ExecutionContext {
  const input = parseJson(task.inputText)
  return deepFreeze({
    executionId: task.run,
    capabilityId: capability,
    args: Array.isArray(input) ? input : [input],
    code: task.code,
    language: task.language,
    files: structuredClone(plainFiles(task.files)),
    config: {
      timeout: limits.timeout,
      memoryLimitMb: controls.memory / MB,
      cpuLimit: controls.cpu,
      networkPolicy: networkPolicyOf(controls.network),
      fsPolicy: fsPolicyOf(controls.files),
    },
  })
}

function networkPolicyOf(network: Controls['network']): NetworkPolicy {
  const { allow, deny } = network
  if (!grantsNetwork(network)) return 'None'
  if (allow === 'any') return deny.length === 0 ? 'Full' : { DenyList: [...deny] }
  return { AllowList: [...allow], ...(deny.length > 0 && { DenyList: [...deny] }) }
}

/** Converts file grants. Write access includes read access here; grants never separate them. */
function fsPolicyOf({ read, write }: Controls['files']): FileSystemPolicy {
  if (write.length > 0) return { ReadWrite: [...write] }
  return read.length > 0 ? { ReadOnly: [...read] } : 'None'
}
