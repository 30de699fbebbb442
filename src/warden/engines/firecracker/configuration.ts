import assert from 'node:assert/strict'
import type { ApiRequest, Drive, PartialDrive, TokenBucket } from './api.ts'
import { vsockSocket } from './jailer.ts'

/**
 * Whole configuration of a machine, as the requests that make it, in their order. Few devices: a root disk that is
 * read-only, a scratch disk where one is asked for, a vsock for the agent's channel, an entropy device, a balloon. No
 * network card, no console, no metadata service.
 */
export interface MachineProfile {
  /** Memory of the guest. */
  readonly memoryMiB: number
  /** Cores of the job; fractions are held by the cgroup, and rounded up here. */
  readonly cores: number
  /** Names of files in the root of the jail. */
  readonly kernel: string
  readonly initrd?: string
  readonly rootDisk: string
  /** Disk that the guest may write, emptied with its machine. */
  readonly scratchDisk?: string
  /** Bytes a second, read and written, of each disk. */
  readonly ioBytes?: number
  /** Words for the guest's kernel in addition to those that every guest has. */
  readonly kernelParameters?: readonly string[]
  /** Words of process 1 of the guest. */
  readonly agentArguments?: readonly string[]
  /** Whether differences of memory are saved exactly; costs time at each first write to a page. */
  readonly tracksDirtyPages: boolean
}

export const rootDriveId = 'root'
export const scratchDriveId = 'scratch'
/** Every machine has its own device, so that their equal ids never meet. */
const GUEST_CID = 3
const MEMORY_MIB = { least: 64, most: 1_048_576 } as const
const VCPUS_MAX = 32
/** COMMAND_LINE_SIZE of x86-64 and arm64, less what Firecracker adds for its devices. */
const BOOT_BYTES_MAX = 1_500
/**
 * No serial port: its output would flow into a pipe of the host. Ctrl-Alt-Del stays, for an orderly end. A guest that
 * panics ends its machine.
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

/** Requests before InstanceStart. Throws AssertionError for a profile outside the bounds of the API's document. */
export function machineRequests(profile: MachineProfile): readonly ApiRequest[] {
  const { memoryMiB, cores, kernel, initrd, rootDisk, scratchDisk, ioBytes, tracksDirtyPages } =
    profile
  assert(
    Number.isSafeInteger(memoryMiB) &&
      memoryMiB >= MEMORY_MIB.least &&
      memoryMiB <= MEMORY_MIB.most,
    `${memoryMiB} MiB are no memory of a guest`,
  )
  return [
    {
      method: 'PUT',
      path: '/machine-config',
      body: {
        vcpu_count: vcpusFor(cores),
        mem_size_mib: memoryMiB,
        smt: false,
        track_dirty_pages: tracksDirtyPages,
      },
    },
    {
      method: 'PUT',
      path: '/boot-source',
      body: {
        kernel_image_path: inJail(kernel),
        ...(initrd === undefined ? {} : { initrd_path: inJail(initrd) }),
        boot_args: bootArguments(profile),
      },
    },
    drive({ id: rootDriveId, file: rootDisk, isRoot: true, ioBytes }),
    ...(scratchDisk === undefined
      ? []
      : [drive({ id: scratchDriveId, file: scratchDisk, isRoot: false, ioBytes })]),
    {
      method: 'PUT',
      path: '/vsock',
      body: { guest_cid: GUEST_CID, uds_path: inJail(vsockSocket) },
    },
    { method: 'PUT', path: '/entropy', body: {} },
    { method: 'PUT', path: '/balloon', body: { amount_mib: 0, deflate_on_oom: false } },
  ]
}

/** Least number of virtual processors that the API takes for these cores: 1, or an even number. */
export function vcpusFor(cores: number): number {
  assert(Number.isFinite(cores) && cores > 0, `${cores} cores are no limit`)
  const whole = Math.ceil(cores)
  return whole === 1 ? 1 : Math.min(VCPUS_MAX, whole + (whole % 2))
}

/** Lowers the rate of a disk while its machine runs. */
export function limitDrive(id: string, ioBytes: number): ApiRequest {
  const body: PartialDrive = { drive_id: id, rate_limiter: { bandwidth: bucketFor(ioBytes) } }
  return { method: 'PATCH', path: `/drives/${id}`, body }
}

/** Rate from which a tenth of a second holds several blocks, so that bursts are a tenth as large. */
const FINE_BYTES_MIN = 10 * 65_536

/**
 * Token bucket that never lets more than this rate through. Throws AssertionError below a byte a second: a bucket of size 0
 * lifts the limit.
 */
export function bucketFor(bytesPerSecond: number): TokenBucket {
  const isRate = bytesPerSecond >= 1 && bytesPerSecond <= Number.MAX_SAFE_INTEGER
  assert(isRate, `${bytesPerSecond} bytes a second are no limit`)
  const refillMs = bytesPerSecond < FINE_BYTES_MIN ? 1_000 : 100
  return { size: Math.floor((bytesPerSecond * refillMs) / 1_000), refill_time: refillMs }
}

function drive({ id, file, isRoot, ioBytes }: DriveParts): ApiRequest {
  const body: Drive = {
    drive_id: id,
    is_root_device: isRoot,
    is_read_only: isRoot,
    path_on_host: inJail(file),
    io_engine: 'Sync',
    ...(ioBytes === undefined ? {} : { rate_limiter: { bandwidth: bucketFor(ioBytes) } }),
  }
  return { method: 'PUT', path: `/drives/${id}`, body }
}

interface DriveParts {
  readonly id: string
  readonly file: string
  readonly isRoot: boolean
  readonly ioBytes: number | undefined
}

/** Path that the jailed process sees. Files lie in the root of the jail itself. */
export function inJail(name: string): string {
  assert(/^[\w-][\w.-]{0,99}$/.test(name), `"${name}" is no name of a file in a jail`)
  return `/${name}`
}

/** A word may not begin a new one, nor end the kernel's words (`--` begins those of process 1). */
function bootArguments({
  kernelParameters = [],
  agentArguments = [],
}: Pick<MachineProfile, 'kernelParameters' | 'agentArguments'>): string {
  for (const word of kernelParameters)
    assert(/^[\w.-]*\w[\w.,:=/@+-]*$/.test(word), `"${word}" is no word for a kernel`)
  for (const word of agentArguments)
    assert(/^[\w/][\w.:=/-]*$/.test(word), `"${word}" is no word for process 1`)
  const own = agentArguments.length === 0 ? [] : ['--', ...agentArguments]
  const text = [...BOOT_WORDS, ...kernelParameters, ...own].join(' ')
  assert(text.length <= BOOT_BYTES_MAX, `${text.length} bytes of boot arguments are too many`)
  return text
}
