import { MayflyError } from '../../../contract/error.ts'

/**
 * Arguments of a virtual machine, as a pure function: the same machine gives the same words, so that a template and its
 * clones have the same devices, which a migration relies on.
 *
 * Devices are the fewest that do the work, because models have been the way out of QEMU (CVE-2015-3456 a floppy drive,
 * CVE-2021-3929 NVMe, CVE-2023-3180 virtio-crypto): a disk that is read-only, two console ports, for the agent and for the
 * job, a balloon and the generation id. No network card, USB, display, sound, keyboard, SATA or System Management Mode. Files are named as
 * QEMU sees them in its jail, and sockets by descriptors, so that no text of a caller stands in an option (a comma would
 * begin another one).
 *
 * q35 and not the `microvm` machine: that one takes a generation id, but its guest never sees it, and all clones had one
 * boot id. The real-time clock starts years ago and runs with the machine: a template tells no time of this host, and the
 * clock that a claim sets is a jump, at which OpenSSL reseeds.
 *
 * Does not handle: several processors (a clone runs one), huge pages, other architectures.
 */
export interface MachineSpec {
  readonly accelerator: Accelerator
  readonly memoryMiB: number
  readonly memory: MachineMemory
  /** Without it the machine is incoming, or a firmware alone. */
  readonly kernel?: MachineKernel
  /** Whether it has the read-only disk. */
  readonly hasImage: boolean
  /** Waits for `migrate-incoming`; the kernel of the template is in the state. */
  readonly isIncoming?: boolean
}

export type Accelerator = 'tcg' | 'kvm'

/**
 * `anonymous`: for a machine of which no template is made. `shared`: a file of the machine's own, of which the template is made. `private`: a copy-on-write map of the template's
 * file, which is opened for reading alone (`readonly=on,rom=off` needs QEMU 8.2; older ones open it for writing).
 */
export type MachineMemory = 'anonymous' | 'shared' | 'private'

export interface MachineKernel {
  /** Words of its command line, with the rate of the time-stamp counter: half of parallel boots under TCG hung without. */
  readonly words: readonly string[]
}

/** Files as QEMU sees them in its jail. */
export const machinePaths = {
  kernel: '/machine/kernel',
  initrd: '/machine/initrd',
  image: '/machine/image',
  template: '/template',
  templateMemory: '/template/memory',
  templateState: '/template/state',
  own: '/own',
  ownMemory: '/own/memory',
  ownState: '/own/state',
  ownDump: '/own/dump',
  ownDevices: '/own/devices',
} as const

/**
 * Descriptors of QEMU: the control connection, the channels of the agent and of the job, and /dev/kvm where it is used; and that
 * from which its jail reads a filter, which QEMU does not get.
 */
export const machineFds = { control: 3, agent: 4, job: 5, kvm: 6, filter: 7 } as const

/** Back end of the disk in the object tree, for `block_set_io_throttle`. */
export const diskId = '/machine/peripheral/disk/virtio-backend'
/** Names of the ports, by which the guest finds them. */
export const agentPort = 'mayfly.agent'
export const jobPort = 'mayfly.job'

const MEMORY_MIB_MIN = 64
const MEMORY_MIB_MAX = 65_536
const KERNEL_LINE_MAX = 2_000
/** Cache of translated code, which is memory of QEMU beside that of the guest; 1 GiB by default. */
const TRANSLATED_MIB = 128
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'
const CLOCK = 'base=2001-01-01T00:00:00,clock=vm'
const boardOff =
  'hpet=off,vmport=off,smm=off,smbus=off,sata=off,i8042=off,usb=off,graphics=off,dump-guest-core=off'

/** Throws MayflyError INVALID for a value that no machine has. */
export function machineArguments(spec: MachineSpec): readonly string[] {
  checkNumber('memory', spec.memoryMiB, MEMORY_MIB_MIN, MEMORY_MIB_MAX)
  return [
    '-name',
    'mayfly',
    '-no-user-config',
    '-nodefaults',
    '-no-reboot',
    '-display',
    'none',
    '-sandbox',
    SANDBOX,
    '-machine',
    `q35,memory-backend=ram,${boardOff}`,
    ...acceleratorArguments(spec.accelerator),
    '-smp',
    '1',
    '-m',
    `${spec.memoryMiB}M`,
    '-rtc',
    CLOCK,
    '-object',
    memoryObject(spec),
    '-chardev',
    `socket,id=control,fd=${machineFds.control}`,
    '-mon',
    'chardev=control,mode=control',
    '-device',
    'vmgenid,guid=auto,id=generation',
    '-device',
    'virtio-serial-pci,id=serial,max_ports=3',
    '-chardev',
    `socket,id=agent,fd=${machineFds.agent}`,
    '-device',
    `virtserialport,bus=serial.0,nr=1,chardev=agent,name=${agentPort},id=port`,
    '-chardev',
    `socket,id=job,fd=${machineFds.job}`,
    '-device',
    `virtserialport,bus=serial.0,nr=2,chardev=job,name=${jobPort},id=jobport`,
    '-device',
    'virtio-balloon-pci,id=balloon',
    ...(spec.hasImage ? diskArguments() : []),
    ...(spec.kernel ? kernelArguments(spec.kernel) : []),
    ...(spec.isIncoming ? ['-incoming', 'defer'] : ['-S']),
  ]
}

function acceleratorArguments(accelerator: Accelerator): readonly string[] {
  if (accelerator === 'tcg') return ['-accel', `tcg,tb-size=${TRANSLATED_MIB}`, '-cpu', 'max']
  return [
    '-add-fd',
    `fd=${machineFds.kvm},set=1`,
    '-accel',
    'kvm,device=/dev/fdset/1',
    '-cpu',
    'host',
  ]
}

function memoryObject({ memory, memoryMiB }: MachineSpec): string {
  if (memory === 'anonymous') return `memory-backend-ram,id=ram,size=${memoryMiB}M,prealloc=off`
  const ram = `memory-backend-file,id=ram,size=${memoryMiB}M,prealloc=off`
  return memory === 'shared'
    ? `${ram},share=on,mem-path=${machinePaths.ownMemory}`
    : `${ram},share=off,readonly=on,rom=off,mem-path=${machinePaths.templateMemory}`
}

function diskArguments(): readonly string[] {
  const file = `driver=file,node-name=file,filename=${machinePaths.image},read-only=on`
  return [
    '-blockdev',
    `${file},auto-read-only=off,locking=off`,
    '-blockdev',
    'driver=raw,node-name=image,file=file,read-only=on',
    '-device',
    'virtio-blk-pci,drive=image,id=disk',
  ]
}

function kernelArguments({ words }: MachineKernel): readonly string[] {
  const bad = words.find((word) => !/^[\x21-\x7e]+$/.test(word))
  if (bad !== undefined) throw invalid('kernel argument', bad)
  const line = words.join(' ')
  if (line.length > KERNEL_LINE_MAX) throw invalid('kernel command line', `${line.length} bytes`)
  const { kernel, initrd } = machinePaths
  return ['-kernel', kernel, '-initrd', initrd, '-append', line]
}

function checkNumber(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max) throw invalid(name, `${value}`)
}

function invalid(name: string, value: string): MayflyError {
  return new MayflyError('INVALID', `Cannot compose a machine: its ${name} is "${value}"`)
}
