import { canonicalJson } from '../../../lib/canonical-json.ts'
import { sha256 } from '../../../lib/hash.ts'
import { machineArguments, type MachineSpec } from './machine.ts'
import type { QmpVersion } from './qmp-commands.ts'
import { cloneSpec } from './template.ts'

/** Facts by which a save is compared with a machine that would resume it. */
export const savedMechanism = 'qemu'

/** Digest of a machine's devices: two machines with one can read each other's state. */
export function savedDevices(spec: Pick<MachineSpec, 'accelerator' | 'memoryMiB'>): string {
  return sha256(canonicalJson({ words: machineArguments(cloneSpec(spec)) }))
}

export const releaseOf = ({ major, minor, micro }: QmpVersion) => `${major}.${minor}.${micro}`
