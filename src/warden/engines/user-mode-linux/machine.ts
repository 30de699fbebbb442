import { MayflyError } from '../../../contract/error.ts'

/**
 * Command line of a user-mode kernel, as a pure function. Files are named as the kernel sees them in its jail, and serial lines by
 * descriptors, so that an argument contains no text of a caller.
 *
 * `seccomp=off`, always: in the other mode (6.17 and later) the stub in each process of the guest makes system calls itself, and
 * according to the kernel's help text a program can read and write all of the guest's memory through it. With it off,
 * programs are traced: PTRACE_SYSEMU intercepts each call at its entry.
 *
 * Parts of the kernel that access the host are disabled (`initcall_blacklist`): hostfs, which mounts folders of the jail, the
 * management console, network devices, and a watchdog that runs a host program. So is a benchmark of RAID 6, which took 0.85 of
 * the 1.0 s of a boot; `lpj` skips 0.2 s of calibration, which only affects busy waits of microseconds.
 *
 * `root` and `console` are set although nothing uses them: otherwise the kernel appends both after `--`, among the arguments of
 * process 1. Kernel messages go to standard error.
 *
 * Not handled: several processors, a writable disk, a management console.
 */
export interface KernelSpec {
  /** Physical memory of the guest. */
  readonly memoryMiB: number
  /** Number of serial lines in addition to the agent's, in the order of their descriptors. */
  readonly lines: number
  readonly hasImage: boolean
  /** Arguments of the agent, after the kernel parameters. */
  readonly agentArguments?: readonly string[]
}

/** Paths of files in the jail. */
export const kernelPaths = {
  kernel: '/kernel/linux',
  initrd: '/kernel/initrd',
  image: '/kernel/image',
  own: '/own',
} as const

/** Descriptors of the kernel: the agent's line first, then the other lines. */
export const agentFd = 3
const LINES_MAX = 16
const MEMORY_MIB_MIN = 48
const MEMORY_MIB_MAX = 16_384
/** Device nodes in the guest: the disk, and the agent's line. */
const DISK = '/dev/ubda'
const AGENT_LINE = '/dev/ttyS0'
/** Line of the job, as the agent opens it. */
export const jobLine = '/dev/ttyS1'
const LOOPS_PER_JIFFY = 20_000_000
const notStarted = [
  'init_hostfs',
  'mconsole_init',
  'vector_init',
  'vector_net_init',
  'virtio_uml_init',
  'harddog_miscdev_init',
  'raid6_init',
]

/** Throws MayflyError INVALID for a value outside its bounds. */
export function userKernelArguments(spec: KernelSpec): readonly string[] {
  const { memoryMiB, lines, hasImage, agentArguments = [] } = spec
  checkNumber('memory', memoryMiB, MEMORY_MIB_MIN, MEMORY_MIB_MAX)
  checkNumber('number of lines', lines, 0, LINES_MAX - 1)
  return [
    `mem=${memoryMiB}M`,
    `initrd=${kernelPaths.initrd}`,
    ...(hasImage ? [`ubd0r=${kernelPaths.image}`] : []),
    'con=null',
    'con0=null,fd:2',
    'ssl=null',
    ...Array.from({ length: lines + 1 }, (_, index) => `ssl${index}=fd:${agentFd + index}`),
    `uml_dir=${kernelPaths.own}/`,
    'umid=guest',
    'root=/dev/ram0',
    'console=tty0',
    'seccomp=off',
    'noreboot',
    'panic=-1',
    'quiet',
    `lpj=${LOOPS_PER_JIFFY}`,
    `initcall_blacklist=${notStarted.join(',')}`,
    '--',
    'boot',
    AGENT_LINE,
    DISK,
    ...agentArguments.map(checkedWord),
  ]
}

function checkedWord(word: string): string {
  if (/^[\x21-\x7e]{1,200}$/.test(word)) return word
  throw invalid('word', word)
}

function checkNumber(name: string, value: number, min: number, max: number): void {
  if (Number.isInteger(value) && value >= min && value <= max) return
  throw invalid(name, `${value}`)
}

function invalid(name: string, value: string): MayflyError {
  return new MayflyError('INVALID', `Cannot compose a user-mode kernel: its ${name} is "${value}"`)
}
