import assert from 'node:assert/strict'
import type { ApiRequest, PartialDrive, TokenBucket } from './api.ts'
import { vsockSocket } from './jailer.ts'

/**
 * Configuration of a machine, as the ordered API requests that create it. Few devices: a read-only root disk, a vsock for
 * the agent's channel, an entropy device, a balloon, and one virtual processor. No network card, no console, no metadata service.
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

export const rootDriveId = 'root'
/** Equal in all machines: each has a vsock device of its own. */
const GUEST_CID = 3
const MEMORY_MIB = { least: 64, most: 1_048_576 } as const
/** COMMAND_LINE_SIZE of x86-64 and arm64, minus the parameters that Firecracker adds for its devices. */
const BOOT_BYTES_MAX = 1_500
/**
 * No serial port: its output would go to a pipe of the host. Ctrl-Alt-Del stays enabled, for a clean shutdown. A kernel panic
 * ends the machine.
 */
const BOOT_WORDS = [
  'reboot=k',
  'panic=1',
  '8250.nr_uarts=0',
  'i8042.noaux',
  'i8042.nomux',
  'quiet',
  'loglevel=1',
  'ro',
] as const

/** Requests before InstanceStart. Throws AssertionError for a profile outside the limits of the API specification. */
export function machineRequests(profile: MachineProfile): readonly ApiRequest[] {
  const { memoryMiB, kernel, initrd, rootDisk, agentArguments } = profile
  assert(
    Number.isSafeInteger(memoryMiB) &&
      memoryMiB >= MEMORY_MIB.least &&
      memoryMiB <= MEMORY_MIB.most,
    `A guest cannot have ${memoryMiB} MiB of memory`,
  )
  return [
    {
      method: 'PUT',
      path: '/machine-config',
      body: {
        vcpu_count: 1,
        mem_size_mib: memoryMiB,
        smt: false,
        track_dirty_pages: false,
      },
    },
    {
      method: 'PUT',
      path: '/boot-source',
      body: {
        kernel_image_path: inJail(kernel),
        initrd_path: inJail(initrd),
        boot_args: bootArguments(agentArguments),
      },
    },
    {
      method: 'PUT',
      path: `/drives/${rootDriveId}`,
      body: {
        drive_id: rootDriveId,
        is_root_device: true,
        is_read_only: true,
        path_on_host: inJail(rootDisk),
        io_engine: 'Sync',
      },
    },
    {
      method: 'PUT',
      path: '/vsock',
      body: { guest_cid: GUEST_CID, uds_path: inJail(vsockSocket) },
    },
    { method: 'PUT', path: '/entropy', body: {} },
    { method: 'PUT', path: '/balloon', body: { amount_mib: 0, deflate_on_oom: false } },
  ]
}

/** Request that replaces the rate limit of a disk of a running machine. */
export function limitDrive(id: string, bandwidth: TokenBucket): ApiRequest {
  const body: PartialDrive = { drive_id: id, rate_limiter: { bandwidth } }
  return { method: 'PATCH', path: `/drives/${id}`, body }
}

/** Rate above which a refill every 100 ms still holds several blocks, so that bursts can be a tenth as large. */
const FINE_BYTES_MIN = 10 * 65_536

/**
 * Token bucket for a rate limit. Throws AssertionError below a byte a second, because a bucket of size 0 disables the limit.
 */
export function bucketFor(bytesPerSecond: number): TokenBucket {
  const isRate = bytesPerSecond >= 1 && bytesPerSecond <= Number.MAX_SAFE_INTEGER
  assert(isRate, `The limit of ${bytesPerSecond} bytes a second is not a positive number`)
  const refillMs = bytesPerSecond < FINE_BYTES_MIN ? 1_000 : 100
  return { size: Math.floor((bytesPerSecond * refillMs) / 1_000), refill_time: refillMs }
}

/** Path of a file as the jailed process sees it: files are in the root of the jail. */
export function inJail(name: string): string {
  assert(/^[\w-][\w.-]{0,99}$/.test(name), `"${name}" is not a valid file name in a jail`)
  return `/${name}`
}

/** Checks that no argument contains a separator. */
function bootArguments(agentArguments: readonly string[]): string {
  for (const word of agentArguments)
    assert(/^[\w/][\w.:=/-]*$/.test(word), `"${word}" is not a valid argument of process 1`)
  const text = [...BOOT_WORDS, '--', ...agentArguments].join(' ')
  assert(
    text.length <= BOOT_BYTES_MAX,
    `The boot arguments have ${text.length} bytes, above the limit`,
  )
  return text
}
