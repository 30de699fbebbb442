import { chmodSync } from 'node:fs'
import { chmod, chown, lstat, rename } from 'node:fs/promises'
import path from 'node:path'
import { MayflyError } from '../../../contract/error.ts'
import { canonicalJson } from '../../../lib/canonical-json.ts'
import { sha256 } from '../../../lib/hash.ts'
import { remainsOf } from '../sweep.ts'
import { makeWallFolder, newWallId, removeWallFolder } from '../wall-folder.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { AgentLink, type AgentHistory } from '../../../agent-wire/agent-link.ts'
import type { MachineFiles } from './jail.ts'
import { askStatus } from '../../../agent-wire/agent-questions.ts'
import { hashFile, whyChanged, whyBytesChanged, type HashedFile } from './hashed-file.ts'
import { machineArguments, machinePaths, type MachineSpec } from './machine.ts'
import { Migrations } from './migrations.ts'
import { startMachine, type QemuProcess, type MachineStart } from './process.ts'

/**
 * Templates of machines. A template is a machine that booted until its agent sent `hello` (and, on request, until a runner is
 * parked in it), was paused, and was saved. Its memory is a file that QEMU had mapped shared and that the save leaves out, so the
 * saved state contains only devices. Then its QEMU ends. A clone maps the file privately, loads the state, and resumes (clone.ts).
 *
 * A template holds no data of a tenant: it is made of files named by their digests, before any claim, and its clock is years
 * behind.
 *
 * The folder of a template is owned by the warden. Memory and state are moved there once no process of the machine is left (QEMU
 * might have planted links, or might still write), must be regular files with a link count of 1, are made read-only, and hashed.
 * A clone's jail binds the folder read-only, and its uid has no write access. The lease is written before the folder is made, so
 * that a sweep finds it at each step.
 *
 * The memory file is on the disk of the wall folders, not in memory (memfd, tmpfs): clones share its pages in the page cache in
 * both cases, and pages of a disk file can be reclaimed under memory pressure.
 *
 * Relies on: a clone with the same devices (`machineArguments`) and the same QEMU, which `templateKey` covers.
 * A template that outlives its warden is stored by template-store.ts.
 */
export interface Template {
  readonly id: string
  readonly key: string
  readonly folder: string
  readonly memoryMiB: number
  readonly accelerator: MachineSpec['accelerator']
  /** Messages between host and agent so far; the conversation of a clone continues them. */
  readonly history: AgentHistory
  readonly memory: HashedFile
  readonly state: HashedFile
  /** Path of the image that its clones read. */
  readonly image: string
}

export interface MachineTemplateParts extends Pick<MachineStart, 'program' | 'programs'> {
  /** Result of `templateKey`. */
  readonly key: string
  readonly accelerator: MachineSpec['accelerator']
  readonly memoryMiB: number
  /** Absolute paths of files whose hashes are in `key`. */
  readonly boot: Required<Pick<MachineFiles, 'kernel' | 'initrd' | 'image'>>
  readonly kernelArguments: readonly string[]
  /** Starts a runner and parks it. No request to the agent may be pending when this resolves. */
  readonly warm?: (agent: AgentLink, machine: QemuProcess) => Promise<void>
  /** Called after each step, for measurements and tests. An exception aborts. */
  readonly onStep?: (step: TemplateStep, machine: QemuProcess) => void
  /** Limit from the first instruction to `hello`, in milliseconds. */
  readonly bootMsMax?: number
  readonly saveMsMax?: number
}

export const templateSteps = ['started', 'ready', 'warm', 'stopped', 'saved', 'kept'] as const
export type TemplateStep = (typeof templateSteps)[number]

const BOOT_MS_MAX = 180_000
const SAVE_MS_MAX = 60_000
const REST_MS_MAX = 30_000

/**
 * Key of a template: equal keys mean equal machines. `parts` are the digests of kernel, initrd, image and kernel parameters
 * (`MachineBoot.key`), of QEMU's program, and of the warmed runner.
 */
export function templateKey(
  spec: Pick<MachineSpec, 'accelerator' | 'memoryMiB'>,
  parts: { readonly boot: string; readonly program: string; readonly warm: string },
): string {
  const words = [templateSpec(spec, []), cloneSpec(spec)].map(machineArguments)
  return sha256(canonicalJson({ ...parts, words }))
}

/** Boots a machine and saves it. Releases everything before it throws MayflyError UNAVAILABLE, PROTOCOL or OVERLOADED. */
export async function makeTemplate(
  parts: MachineTemplateParts,
  host: GuestHost,
): Promise<Template> {
  const id = leaseTemplate(host)
  try {
    const folder = makeWallFolder(id)
    // As root each clone has a uid of its own, which needs access to the files.
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

/** Leases the folder of a template, or of another save of a machine. */
export function leaseTemplate(host: GuestHost): string {
  const id = newWallId('t')
  host.lease(id, remainsOf([], null))
  return id
}

/** Removes its files; running clones keep their mappings. */
export async function removeTemplate({ id }: Pick<Template, 'id'>, host: GuestHost) {
  await removeWallFolder(id)
  host.releaseLease(id)
}

/** Reason why it must not be cloned, by the inodes of its files; undefined if they are unchanged. */
export function whyTemplateBroken({ memory, state }: Template): string | undefined {
  return whyChanged(memory) ?? whyChanged(state)
}

/** Reason why it must not be cloned, by the hashes of its files. */
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
    throw machine.startError(error)
  } finally {
    await machine.release()
  }
}

/** Moves the files with rename(2), which follows no link, and checks them in a folder that the uid of the machine cannot enter. */
async function keepFiles(from: string, to: string): Promise<void> {
  for (const name of ['memory', 'state']) {
    const file = path.join(to, name)
    await rename(path.join(from, name), file)
    const facts = await lstat(file)
    if (!facts.isFile() || facts.nlink !== 1)
      throw new MayflyError(
        'PROTOCOL',
        `Cannot keep the ${name} of a machine: it is not a regular file`,
      )
    await chown(file, process.getuid?.() ?? facts.uid, process.getgid?.() ?? facts.gid)
    await chmod(file, 0o444)
  }
}
