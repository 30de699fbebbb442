import { randomBytes } from 'node:crypto'
import { chmodSync } from 'node:fs'
import { chmod, chown, lstat, rename } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import { canonicalJson } from '../../../lib/canonical-json.ts'
import { sha256 } from '../../../lib/hash.ts'
import { remainsOf } from '../sweep.ts'
import { makeWallFolder, removeWallFolder } from '../wall-folder.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { AgentLink, type AgentHistory } from '../../../agent-wire/agent-link.ts'
import type { MachineFiles } from './jail.ts'
import { askStatus } from '../../../agent-wire/agent-questions.ts'
import { hashFile, whyChanged, whyBytesChanged, type HashedFile } from './hashed-file.ts'
import { machineArguments, machinePaths, type MachineSpec } from './machine.ts'
import { Migrations } from './migrations.ts'
import { startMachine, type QemuProcess, type MachineStart } from './process.ts'

/**
 * Templates of machines. A template is a machine that booted until its agent said `hello` (and, if the caller says so, until a
 * runner waits in it), was stopped, and was saved: its memory is a file that QEMU had mapped shared, and which the save
 * leaves out, so that the state is that of devices alone. Its QEMU ends then. A clone maps that file privately, reads the
 * state, and goes on (clone.ts).
 *
 * A template never holds anything of a tenant: it is made of files that are named by their digests, without a claim, and with a
 * clock that is years behind.
 *
 * The folder of a template belongs to the warden. Memory and state are moved there once no process of the machine is left
 * (QEMU might have planted links, or might write on), are checked to be plain files with one name, made read-only, and
 * hashed. A clone's jail binds the folder read-only, and its uid can write to nothing in it. Its lease is written before the
 * folder is made, so that a sweep finds it at each step.
 *
 * Memory is a file on the disk of the wall folders, not in memory (memfd, tmpfs): clones share its pages in the page cache either
 * way, and a page of a disk can be dropped where memory is short.
 *
 * Relies on: a clone with the same devices (`machineArguments`) and the same QEMU, which `templateKey` covers.
 * A template that outlives its warden lies on a shelf (template-shelf.ts).
 */
export interface Template {
  readonly id: string
  readonly key: string
  readonly folder: string
  readonly memoryMiB: number
  readonly accelerator: MachineSpec['accelerator']
  /** Conversation between host and agent, with which that of a clone begins. */
  readonly history: AgentHistory
  readonly memory: HashedFile
  readonly state: HashedFile
  /** Image as the clones read it; the store's own file. */
  readonly image: string
}

export interface MachineTemplateParts extends Pick<MachineStart, 'program' | 'programs'> {
  /** Result of `templateKey`. */
  readonly key: string
  readonly accelerator: MachineSpec['accelerator']
  readonly memoryMiB: number
  /** Absolute paths of files that were hashed. */
  readonly boot: Required<Pick<MachineFiles, 'kernel' | 'initrd' | 'image'>>
  readonly kernelArguments: readonly string[]
  /** Starts a runner and leaves it waiting. The agent is asked nothing any more when this resolves. */
  readonly warm?: (agent: AgentLink, machine: QemuProcess) => Promise<void>
  /** Called after each step, for figures and for tests. A throw ends the making. */
  readonly onStep?: (step: TemplateStep, machine: QemuProcess) => void
  /** Milliseconds from the first instruction to `hello`. */
  readonly bootMsMax?: number
  readonly saveMsMax?: number
}

export const templateSteps = ['started', 'ready', 'warm', 'stopped', 'saved', 'kept'] as const
export type TemplateStep = (typeof templateSteps)[number]

const BOOT_MS_MAX = 180_000
const SAVE_MS_MAX = 60_000
const REST_MS_MAX = 30_000

/**
 * Name of a template: two with one name are the same machine. `parts` are digests of kernel, initrd and image with the words
 * of the kernel (`MachineBoot.key`), of QEMU's program, and of what the caller warms.
 */
export function templateKey(
  spec: Pick<MachineSpec, 'accelerator' | 'memoryMiB'>,
  parts: { readonly boot: string; readonly program: string; readonly warm: string },
): string {
  const words = [templateSpec(spec, []), cloneSpec(spec)].map(machineArguments)
  return sha256(canonicalJson({ ...parts, words }))
}

/** Boots and saves. Throws MayflyError UNAVAILABLE, PROTOCOL and OVERLOADED; nothing is left then. */
export async function makeTemplate(
  parts: MachineTemplateParts,
  host: GuestHost,
): Promise<Template> {
  const id = `t${randomBytes(8).toString('hex')}`
  host.lease(id, remainsOf([], null))
  try {
    const folder = makeWallFolder(id)
    // As root each clone has a uid of its own, which has to find the files.
    if (host.isRoot) chmodSync(folder, 0o755)
    const history = await bootAndSave(parts, folder, host)
    const [memory, state] = await Promise.all([
      hashFile(path.join(folder, 'memory')),
      hashFile(path.join(folder, 'state')),
    ])
    const { key, memoryMiB, accelerator, boot } = parts
    const { image } = boot
    return { id, key, folder, memoryMiB, accelerator, history, memory, state, image }
  } catch (error) {
    await removeTemplate({ id }, host)
    throw error
  }
}

/** Removes its files; clones that run keep their pages. */
export async function removeTemplate({ id }: Pick<Template, 'id'>, host: GuestHost) {
  await removeWallFolder(id)
  host.releaseLease(id)
}

/** Cause for which no clone may be made of it, by a look at its files; undefined where it is whole. */
export function whyTemplateBroken({ memory, state }: Template): string | undefined {
  return whyChanged(memory) ?? whyChanged(state)
}

/** The same, by a hash of each byte. */
export async function whyTemplateBytesBroken({ memory, state }: Template) {
  return (await whyBytesChanged(memory)) ?? (await whyBytesChanged(state))
}

type SpecParts = Pick<MachineSpec, 'accelerator' | 'memoryMiB'>

function templateSpec({ accelerator, memoryMiB }: SpecParts, words: readonly string[]) {
  const kernel = { words }
  return { accelerator, memoryMiB, memory: 'shared', hasImage: true, kernel } as const
}

/** Machine of a clone of a template with this spec. */
export function cloneSpec({ accelerator, memoryMiB }: SpecParts): MachineSpec {
  return { accelerator, memoryMiB, memory: 'private', hasImage: true, isIncoming: true }
}

async function bootAndSave(
  parts: MachineTemplateParts,
  folder: string,
  host: GuestHost,
): Promise<AgentHistory> {
  const { program, programs, boot, kernelArguments, onStep = () => undefined } = parts
  const spec = templateSpec(parts, kernelArguments)
  const migrations = new Migrations()
  const { onEvent } = migrations
  const machine = await startMachine({ program, programs, spec, files: boot, onEvent }, host)
  const agent = new AgentLink(machine.channel)
  try {
    onStep('started', machine)
    await migrations.prepare(machine.control, parts.saveMsMax ?? SAVE_MS_MAX)
    await machine.control.ask('cont')
    await agent.take('hello', parts.bootMsMax ?? BOOT_MS_MAX)
    onStep('ready', machine)
    await parts.warm?.(agent, machine)
    await askStatus(agent, REST_MS_MAX)
    onStep('warm', machine)
    await machine.control.ask('stop')
    onStep('stopped', machine)
    const { saveMsMax = SAVE_MS_MAX } = parts
    await migrations.save(machine.control, `file:${machinePaths.ownState}`, saveMsMax)
    onStep('saved', machine)
    await machine.stop()
    await keepFiles(machine.folder, folder)
    onStep('kept', machine)
    return agent.history
  } catch (error) {
    throw machine.failed(error)
  } finally {
    await machine.release()
  }
}

/** A name is moved, which follows no link, and is looked at afterwards, where the uid of the machine cannot reach. */
async function keepFiles(from: string, to: string): Promise<void> {
  for (const name of ['memory', 'state']) {
    const file = path.join(to, name)
    await rename(path.join(from, name), file)
    const facts = await lstat(file)
    if (!facts.isFile() || facts.nlink !== 1)
      throw new MayflyError('PROTOCOL', `Cannot keep the ${name} of a machine: it is no plain file`)
    await chown(file, process.getuid?.() ?? facts.uid, process.getgid?.() ?? facts.gid)
    await chmod(file, 0o444)
  }
}
