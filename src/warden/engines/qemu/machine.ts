import { MayflyError } from '../../../contract/error.ts'

/**
 * Arguments of a virtual machine, as a pure function: equal machines get equal arguments, so that a template and its clones have
 * the same devices, on which a migration relies.
 *
 * As few devices as possible, because escapes from QEMU have used device models (CVE-2015-3456 a floppy drive, CVE-2021-3929
 * NVMe, CVE-2023-3180 virtio-crypto): a read-only disk, two console ports for the agent and for the job, a balloon and the
 * generation id. No network card, USB, display, sound, keyboard, SATA or System Management Mode. Files are named as QEMU sees
 * them in its jail, and sockets by descriptors, so that an option contains no text of a caller (a comma would begin another
 * option).
 *
 * q35, not the `microvm` machine: that one accepts a generation id, but its guest never sees it, so all clones had the same boot
 * id. The real-time clock starts in 2001 and runs with the machine: a template reveals no time of this host, and the clock set by
 * a claim is a jump, at which OpenSSL reseeds.
 *
 * Not handled: several processors (a clone runs one), huge pages, other architectures.
 */
export interface MachineSpec {
  readonly accelerator: Accelerator
  readonly memoryMiB: number
  readonly memory: MachineMemory
  /** Absent for an incoming migration, and for a boot of firmware only. */
  readonly kernel?: MachineKernel
  /** True if it has the read-only disk. */
  readonly hasImage: boolean
  /** Waits for `migrate-incoming`; the kernel is in the memory of the template. */
  readonly isIncoming?: boolean
}

export type Accelerator = 'tcg' | 'kvm'

/**
 * `anonymous`: for a machine that becomes no template. `shared`: a file of the machine, which becomes the template's memory.
 * `private`: a copy-on-write mapping of the template's file, opened read-only (`readonly=on,rom=off` needs QEMU 8.2; older
 * releases open it for writing).
 */
export type MachineMemory = 'anonymous' | 'shared' | 'private'

export interface MachineKernel {
  /** Kernel parameters, with the rate of the time-stamp counter: without it half of parallel boots under TCG hung. */
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
  ownDevices: '/own/devices',
} as const

/**
 * Descriptors of QEMU: the control connection, the channels of the agent and of the job, and /dev/kvm if it is used. `filter` is
 * read and closed by the jail before it starts QEMU.
 */
export const machineFds = { control: 3, agent: 4, job: 5, kvm: 6, filter: 7 } as const

/** Back end of the disk in the QOM tree, for `block_set_io_throttle`. */
export const diskId = '/machine/peripheral/disk/virtio-backend'
/** Names by which the guest finds the ports. */
export const agentPort = 'mayfly.agent'
export const jobPort = 'mayfly.job'

const MEMORY_MIB_MIN = 64
const MEMORY_MIB_MAX = 65_536
const KERNEL_LINE_MAX = 2_000
/** Size of the TCG translation cache, in addition to the guest's memory; QEMU's default is 1 GiB. */
const TRANSLATED_MIB = 128
const SANDBOX = 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'
const CLOCK = 'base=2001-01-01T00:00:00,clock=vm'
const boardOff =
  'hpet=off,vmport=off,smm=off,smbus=off,sata=off,i8042=off,usb=off,graphics=off,dump-guest-core=off'

/** Throws MayflyError INVALID for a value outside its bounds. */
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
