import assert from 'node:assert/strict'
import type { ApiRequest } from './api.ts'
import { vsockSocket } from './jailer.ts'

/**
 * Configuration of a machine, as the ordered API requests that create and start it. Few devices: a read-only root disk, a
 * vsock for the agent's channel, an entropy device, a balloon. No network card, no console, no metadata service.
 */
export interface MachineProfile {
  /** Memory of the guest. */
  readonly memoryMiB: number
  /** Names of files in the root of the jail. */
  readonly kernel: string
  readonly initrd: string
  readonly rootDisk: string
  /** Arguments of process 1 of the guest. */
  readonly agentArguments: readonly string[]
}

/** Equal in all machines: each has a vsock device of its own. */
const GUEST_CID = 3
const MEMORY_MIB = { least: 64, most: 1_048_576 } as const
/** COMMAND_LINE_SIZE of x86-64 and arm64, minus the parameters that Firecracker adds for its devices. */
const BOOT_BYTES_MAX = 1_500
/**
 * No serial port: its output would go to a pipe of the host. Ctrl-Alt-Del stays enabled, for a clean shutdown. A kernel panic
 * ends the machine.
 */
const BOOT_WORDS =
  'reboot=k panic=1 8250.nr_uarts=0 i8042.noaux i8042.nomux quiet loglevel=1 ro'.split(' ')

/** Throws AssertionError for a profile outside the limits of the API specification. */
export function machineRequests(profile: MachineProfile): readonly ApiRequest[] {
  const { memoryMiB, kernel, initrd, rootDisk, agentArguments } = profile
  assert(
    Number.isSafeInteger(memoryMiB) &&
      memoryMiB >= MEMORY_MIB.least &&
      memoryMiB <= MEMORY_MIB.most,
    `A guest cannot have ${memoryMiB} MiB of memory`,
  )
  const machine = { mem_size_mib: memoryMiB, smt: false, track_dirty_pages: false } as const
  return [
    put('/machine-config', { vcpu_count: 1, ...machine }),
    put('/boot-source', {
      kernel_image_path: inJail(kernel),
      initrd_path: inJail(initrd),
      boot_args: bootArguments(agentArguments),
    }),
    put('/drives/root', {
      drive_id: 'root',
      is_root_device: true,
      is_read_only: true,
      path_on_host: inJail(rootDisk),
      io_engine: 'Sync',
    }),
    put('/vsock', { guest_cid: GUEST_CID, uds_path: inJail(vsockSocket) }),
    put('/entropy', {}),
    put('/balloon', { amount_mib: 0, deflate_on_oom: false }),
    put('/actions', { action_type: 'InstanceStart' }),
  ]
}

type PutRequest = Extract<ApiRequest, { method: 'PUT' }>

function put<Path extends PutRequest['path']>(
  path: Path,
  body: Extract<PutRequest, { path: Path }>['body'],
): ApiRequest {
  return { method: 'PUT', path, body } as PutRequest
}

/** Path of a file as the jailed process sees it: files are in the root of the jail. */
export function inJail(name: string): string {
  assert(/^[\w-][\w.-]{0,99}$/.test(name), `"${name}" is not a valid file name in a jail`)
  return `/${name}`
}

/** Checks that an argument of process 1 contains no separator, and no `--`, after which these arguments begin. */
function bootArguments(own: readonly string[]): string {
  for (const word of own)
    assert(/^[\w/][\w.:=/-]*$/.test(word), `"${word}" is not a valid argument of process 1`)
  const text = [...BOOT_WORDS, '--', ...own].join(' ')
  assert(
    text.length <= BOOT_BYTES_MAX,
    `The boot arguments have ${text.length} bytes, above the limit`,
  )
  return text
}
