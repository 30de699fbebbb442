import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { release } from 'node:os'
import path from 'node:path'
import * as z from 'zod'
import { AgentReader, type AgentMessage } from '../../../agent-wire/decode.ts'
import { MayflyError } from '../../../contract/error.ts'
import { initrdOf } from '../../../images/machine.ts'
import { readBootId } from '../../../os/proc.ts'
import { cachedFacts, withProbeFolder } from '../cached-facts.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { startUserKernel, type UserKernelProcess } from './process.ts'
import { bootModules, type KernelJailPrograms, type UserKernel } from './program.ts'

/**
 * Proves that user-mode kernels work here, by a boot without an image: the agent sends `lost` with the step at which the image is
 * missing, and powers the machine off, only if kernel, jail, tracing of programs, serial line, modules and agent work. Detects
 * containers without ptrace, foreign seccomp filters, and a /dev/shm mounted noexec.
 */
const factsShape = z.strictObject({
  /** Release of the kernel, as named by its modules. */
  version: z.string().max(64),
  bootMs: z.number().min(0).max(3_600_000),
})

export type UserKernelFacts = Readonly<z.infer<typeof factsShape>>

export interface UserKernelProbe {
  readonly kernel: UserKernel
  readonly programs: KernelJailPrograms
  readonly host: GuestHost
  /** The compiled, static agent. */
  readonly agent: Uint8Array
  /** Limit of the boot in milliseconds. */
  readonly bootMsMax?: number
}

const BOOT_MS_MAX = 30_000
const PROBE_MIB = 64
/** Boot step that mounts the image. */
const BOOT_IMAGE = 24

/** Throws MayflyError UNAVAILABLE with the cause. */
export async function probeUserKernel(parts: UserKernelProbe): Promise<UserKernelFacts> {
  return await withProbeFolder(async (folder) => {
    const initrd = path.join(folder, 'initrd')
    writeFileSync(initrd, initrdOf(parts.agent, bootModules(parts.kernel)), { mode: 0o644 })
    return { version: versionOf(parts.kernel), bootMs: await bootMs(initrd, parts) }
  })
}

/** Result of the probe, cached in a file of this user per kernel, host kernel and boot. Throws MayflyError UNAVAILABLE. */
export async function cachedUserKernel(
  parts: UserKernelProbe,
  folder: string,
): Promise<UserKernelFacts> {
  const text = JSON.stringify([parts.kernel.fingerprint, release(), readBootId()])
  return await cachedFacts(path.join(folder, 'user-kernel.json'), {
    key: createHash('sha256').update(text).update(parts.agent).digest('hex'),
    shape: factsShape,
    probe: () => probeUserKernel(parts),
  })
}

async function bootMs(
  initrd: string,
  { kernel, programs, host, bootMsMax = BOOT_MS_MAX }: UserKernelProbe,
): Promise<number> {
  const spec = { memoryMiB: PROBE_MIB, lines: 0, hasImage: false }
  const began = performance.now()
  const guest = startUserKernel({ kernel, programs, spec, initrd, image: undefined }, host)
  const late = setTimeout(() => guest.kill(), bootMsMax)
  try {
    const first = await firstMessage(guest)
    const took = performance.now() - began
    const { exitCode, signal } = await guest.ended
    const isLost = first?.kind === 'lost' && first.code === BOOT_IMAGE
    if (isLost && exitCode === 0) return Math.round(took)
    const said = first ? `its agent sent "${first.kind}"` : 'its agent sent nothing'
    throw guest.startError(new Error(`${said}, and it ended by ${signal ?? `exit ${exitCode}`}`))
  } finally {
    clearTimeout(late)
    await guest.release()
  }
}

/** First message on the agent's line; undefined if the line ends without one, or the bytes are malformed. */
async function firstMessage({ channel, ended }: UserKernelProcess) {
  const { promise, resolve } = Promise.withResolvers<AgentMessage | undefined>()
  const reader = new AgentReader()
  channel.on('error', () => resolve(undefined))
  channel.on('close', () => resolve(undefined))
  channel.on('data', (chunk: Buffer) => {
    try {
      for (const message of reader.push(chunk)) resolve(message)
    } catch {
      resolve(undefined)
    }
  })
  void ended.then(() => setImmediate(() => resolve(undefined)))
  return await promise
}

function versionOf({ modules }: UserKernel): string {
  const [first] = modules
  const found = first && /vermagic=([\w.+-]{1,64})/.exec(readFileSync(first, 'latin1'))?.[1]
  if (found) return found
  throw new MayflyError(
    'UNAVAILABLE',
    'Cannot use a user-mode kernel: its release cannot be read from its modules',
  )
}
