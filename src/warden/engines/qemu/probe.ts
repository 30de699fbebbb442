import { createHash } from 'node:crypto'
import { statSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import path from 'node:path'
import * as z from 'zod'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { readBootId } from '../../../os/proc.ts'
import { cachedFacts, withProbeFolder } from '../cached-facts.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import type { JailPrograms } from './jail.ts'
import type { Accelerator } from './machine.ts'
import { startMachine, type QemuProcess } from './process.ts'
import type { HypervisorProgram } from './program.ts'
import { saidByMachine } from './qmp.ts'
import { noStarts, withTries, type StartCounts } from '../start-tries.ts'

/**
 * Accelerator of this machine, proved by a boot. Being able to open /dev/kvm proves nothing: nested in another hypervisor the first
 * instruction of a guest may abort QEMU, or never return; or the firmware boots, and the machine stops at an instruction of the
 * kernel that KVM must emulate and cannot (one with a VEX prefix, for which its decompressor is compiled). So a machine boots
 * from a disk whose first sector enters 64-bit mode, uses such an instruction if the processor has it, and writes a byte to a
 * port that makes QEMU exit with a unique code. KVM is tried once, with a deadline; TCG, which must work, three times.
 *
 * Proves the three modes, paging, the disk and the jail; not that a complete kernel boots.
 */
const factsShape = z.strictObject({
  accelerator: z.enum(['tcg', 'kvm']),
  /** Release of QEMU. */
  version: z.string().max(32),
  /** Reason why KVM is not used; absent if it is. */
  withoutKvm: z.string().max(1_000).optional(),
})

export type AcceleratorFacts = Readonly<z.infer<typeof factsShape>>

export interface ProbeParts {
  readonly program: HypervisorProgram
  readonly programs: JailPrograms
  readonly host: GuestHost
  readonly counts?: StartCounts
  /** Limit of one boot in milliseconds. */
  readonly bootMsMax?: number
}

const BOOT_MS_MAX = 45_000
const PROBE_MIB = 64
const PORT = 0xf4
const SAID = 0x15
/** isa-debug-exit makes QEMU exit with `2 * byte + 1`. */
const EXIT_CODE = SAID * 2 + 1
const SECTOR_BYTES = 512
/** SeaBIOS addresses a disk by cylinders, and needs at least one. */
const DISK_BYTES = 2 ** 20
/** Machine code at address 0x7c00, a step per line. */
const code = Buffer.from(
  [
    'fa 31c0 8ed8 8ec0', // cli; data segments from 0
    '66bf00100000 6631c0 66b9000c0000 fc 66f3ab', // zeroes for three page tables at 0x1000
    'c70600100320 c70600200330 c70600308300', // a page of 2 MiB at 0
    '66b800100000 0f22d8 66b820000000 0f22e0', // cr3; cr4.PAE
    '66b9800000c0 0f32 80cc01 0f30', // EFER.LME
    '0f20c0 660d01000080 0f22c0', // cr0.PG and cr0.PE
    '0f0116987c ea617c0800', // lgdt; far jump to 64-bit code
    'b807000000 31c9 0fa2', // cpuid, leaf 7
    `b8${hex(SAID)}000000 31c9`, // eax = SAID, ecx = 0
    '0fbae308 7305 c4e271f7c0', // with BMI2: shlx eax, eax, ecx
    `e6${hex(PORT)} f4 ebfd`, // out PORT, al; hlt; jmp to the hlt
    '0f1f8000000000', // padding
    '0000000000000000 00000000009a2000', // segments: none, and 64-bit code
    '0f00 887c0000', // size and address of these
  ]
    .join('')
    .replaceAll(' ', ''),
  'hex',
)
const words = ['-device', `isa-debug-exit,iobase=${PORT},iosize=4`]

/** Throws MayflyError UNAVAILABLE if no machine boots with any accelerator. */
export async function probeAccelerators(parts: ProbeParts): Promise<AcceleratorFacts> {
  const counts = parts.counts ?? noStarts()
  try {
    return { accelerator: 'kvm', version: await probeBoot(parts, 'kvm') }
  } catch (error) {
    const version = await withTries(() => probeBoot(parts, 'tcg'), counts)
    return { accelerator: 'tcg', version, withoutKvm: messageOf(error) }
  }
}

/** Boots from the disk, and resolves with the release of QEMU. Throws MayflyError UNAVAILABLE with the cause. */
export async function probeBoot(parts: ProbeParts, accelerator: Accelerator): Promise<string> {
  return await withProbeFolder(async (folder) => {
    const image = path.join(folder, 'disk')
    writeFileSync(image, bootDisk(), { mode: 0o644 })
    return await bootFrom(image, parts, accelerator)
  })
}

async function bootFrom(
  image: string,
  { program, programs, host, bootMsMax = BOOT_MS_MAX }: ProbeParts,
  accelerator: Accelerator,
): Promise<string> {
  const spec = { accelerator, memoryMiB: PROBE_MIB, memory: 'shared', hasImage: true } as const
  const stopped = Promise.withResolvers<void>()
  const machine = await startMachine(
    {
      program,
      programs,
      spec,
      files: { image },
      words,
      readyMsMax: bootMsMax,
      // After a KVM error QEMU pauses the machine and waits for a debugger.
      onEvent: ({ name }) => name === 'STOP' && stopped.resolve(),
    },
    host,
  )
  void stopped.promise.then(() => machine.kill())
  try {
    // The response may be lost, because the command leads to the exit of QEMU.
    machine.control.ask('cont').catch(() => undefined)
    await assertBoots(machine, accelerator, bootMsMax)
    const { major, minor, micro } = machine.version
    return `${major}.${minor}.${micro}`
  } finally {
    await machine.release()
  }
}

async function assertBoots(machine: QemuProcess, accelerator: Accelerator, msMax: number) {
  const late = setTimeout(() => machine.kill(), msMax)
  const { exitCode, signal, said } = await machine.ended
  clearTimeout(late)
  if (exitCode === EXIT_CODE) return
  const line = saidByMachine(said.trim().split('\n')[0] ?? '')
  const ended = signal ?? `exit ${exitCode}`
  const why = `a boot under "${accelerator}" did not exit with the expected code (${ended}${line && `: ${line}`})`
  throw new MayflyError('UNAVAILABLE', `Cannot use QEMU: ${why}`, { detail: said })
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0')
}

function bootDisk(): Buffer {
  const disk = Buffer.alloc(DISK_BYTES)
  disk.set(code)
  disk.set([0x55, 0xaa], SECTOR_BYTES - 2)
  return disk
}

/** Result of the probe, cached in a file of this user per QEMU, host kernel and boot. Throws MayflyError UNAVAILABLE. */
export async function cachedAccelerators(
  parts: ProbeParts,
  folder: string,
): Promise<AcceleratorFacts> {
  return await cachedFacts(path.join(folder, 'accelerator.json'), {
    key: keyOf(parts.program),
    shape: factsShape,
    probe: () => probeAccelerators(parts),
  })
}

function keyOf({ file }: HypervisorProgram): string {
  const { size, mtimeMs } = statSync(file)
  const text = JSON.stringify([file, size, mtimeMs, release(), readBootId(), code.toString('hex')])
  return createHash('sha256').update(text).digest('hex')
}
