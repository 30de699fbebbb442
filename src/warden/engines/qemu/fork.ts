import { chmod, open, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { AgentLink } from '../../../agent-wire/agent-link.ts'
import type { ConversationState } from '../../../agent-wire/conversation.ts'
import { MayflyError, messageOf } from '../../../contract/error.ts'
import { copySparse } from '../../../lib/copy-sparse.ts'
import { createMutex } from '../../../lib/mutex.ts'
import { writeWholeAt } from '../../../lib/write-whole.ts'
import { MappedMemory, pageBytes, type PageRun } from '../../../os/mapped-memory.ts'
import { liveMachine } from '../agent-guest/boot-guest.ts'
import type { ForkDraft, LiveMachine, MachineFork, MachineForker } from '../agent-guest/source.ts'
import { makeWallFolder } from '../wall-folder.ts'
import { MachineCopy, readDevices, type CopiedBase } from './machine-copy.ts'
import type { MachineSpec } from './machine.ts'
import { changedPageGroups, memoryMapping } from './memory-difference.ts'
import type { QemuProcess } from './process.ts'
import { restoreMachine, type RestoreParts } from './restore.ts'
import { cloneSpec, leaseTemplate, removeTemplate } from './template.ts'

/**
 * Fork of a running clone: further machines that go on where it was paused, each with memory of its own.
 *
 * Problem: a guest has a gigabyte of memory and has to stand still while it is saved.
 *
 * Mechanism: the save is a file like that of a template, so that its machines share its pages and copy those that they write. The
 * template's memory is copied into it before the pause. During the pause the pages that differ from the template are written over it
 * (`memory-difference.ts`), and the state of the devices. A new QEMU in a jail of its own maps that file privately and reads the state
 * (`restore.ts`). Machines of one save are started one after the other, because the file is readable by one uid at a time.
 *
 * A forked machine differs from the template by its own pages and by those of the save, so its captures, and forks of it, name
 * the template too.
 *
 * The save holds data of a job. It is removed once its last machine was started, and by its lease if this process dies.
 *
 * Not handled: machines that were booted, whose devices are others.
 */
export interface ForkedFrom extends RestoreParts {
  readonly process: QemuProcess
  readonly spec: Pick<MachineSpec, 'accelerator' | 'memoryMiB'>
  readonly program: 'node' | 'python'
  /** Path of the image that is its disk, and its digest. */
  readonly image: string
  readonly digest: string
  readonly base: CopiedBase
  readonly inherited: readonly PageRun[]
}

/** Longest pause for its memory. */
const MEMORY_MS_MAX = 10_000
const MIB = 2 ** 20

export function forkerOf(from: ForkedFrom): MachineForker {
  return { prepare: () => prepare(from) }
}

/** A clone, or a machine that was forked from one: with copies of its memory, and forks. */
export function forkableMachine(from: ForkedFrom, agent: AgentLink): LiveMachine<QemuProcess> {
  const { process, program, spec, digest: image, base, inherited } = from
  return {
    ...liveMachine(process, agent, { origin: 'clone', image }),
    copy: new MachineCopy({ process, program, spec, image, base, inherited }),
    forker: forkerOf(from),
    async release() {
      try {
        await process.release()
      } finally {
        await base.file.close()
      }
    },
  }
}

async function prepare(from: ForkedFrom): Promise<ForkDraft> {
  const { host, takes, spec, base } = from
  takes.refuseIfClosed()
  const id = leaseTemplate(host)
  const remove = () => removeTemplate({ id }, host)
  try {
    const folder = makeWallFolder(id)
    await using memory = await open(path.join(folder, 'memory'), 'wx', 0o400)
    await copySparse(base.file, memory, spec.memoryMiB * MIB)
    return { save: () => saveInto(from, folder, remove), remove }
  } catch (error) {
    await remove()
    throw cannotSave(error)
  }
}

async function saveInto(
  from: ForkedFrom,
  folder: string,
  remove: () => Promise<void>,
): Promise<MachineFork> {
  try {
    const devices = await readDevices(from.process)
    await using state = await open(path.join(folder, 'state'), 'wx', 0o400)
    await state.writeFile(devices)
    await using memory = await openForWriting(path.join(folder, 'memory'))
    const changed = await writeChanged(from, memory)
    // The machine that is forked may end before those that are made of it start.
    const base = await sameFile(from.base)
    return new ForkSave({ ...from, base }, { folder, changed, remove })
  } catch (error) {
    throw cannotSave(error)
  }
}

/** The mode is for the uid of the machines, which becomes its owner. */
async function openForWriting(file: string): Promise<FileHandle> {
  await chmod(file, 0o600)
  const opened = await open(file, 'r+')
  try {
    await opened.chmod(0o400)
    return opened
  } catch (error) {
    await opened.close()
    throw error
  }
}

/** Returns the pages that differ from the template. */
async function writeChanged(
  { process, spec, base, inherited }: ForkedFrom,
  to: FileHandle,
): Promise<readonly PageRun[]> {
  const pid = process.processes.at(-1)!.pid
  await using memory = await MappedMemory.open(pid, memoryMapping(pid, spec.memoryMiB, true))
  const until = performance.now() + MEMORY_MS_MAX
  const changed: PageRun[] = []
  for await (const group of changedPageGroups({ memory, base: base.file, inherited })) {
    if (performance.now() > until)
      throw new Error(`its memory could not be read within ${MEMORY_MS_MAX} ms`)
    for (const { run, bytes } of group) {
      await writeWholeAt(to, bytes, run.first * pageBytes)
      changed.push(run)
    }
  }
  return changed
}

interface SavedFiles {
  readonly folder: string
  readonly changed: readonly PageRun[]
  readonly remove: () => Promise<void>
}

class ForkSave implements MachineFork {
  readonly #from: ForkedFrom
  readonly #files: SavedFiles
  readonly #mutex = createMutex()
  #isReleased = false

  constructor(from: ForkedFrom, files: SavedFiles) {
    this.#from = from
    this.#files = files
  }

  start(position: ConversationState): Promise<LiveMachine> {
    const { takes } = this.#from
    return takes.run(() => this.#mutex(() => this.#start(position)))
  }

  async release(): Promise<void> {
    if (this.#isReleased) return
    this.#isReleased = true
    await this.#mutex(async () => {
      await this.#from.base.file.close()
      await this.#files.remove()
    })
  }

  async #start(position: ConversationState): Promise<LiveMachine> {
    if (this.#isReleased) throw cannotSave(new Error('its save was removed'))
    const { folder, changed: inherited } = this.#files
    const { image } = this.#from
    const spec = cloneSpec(this.#from.spec)
    const base = await sameFile(this.#from.base)
    try {
      const process = await restoreMachine(this.#from, { spec, image, folder })
      const agent = AgentLink.goOn(process.channel, position)
      return forkableMachine({ ...this.#from, process, base, inherited }, agent)
    } catch (error) {
      await base.file.close()
      throw error
    }
  }
}

/** Another handle of an open file, which may have no path any more. */
async function sameFile(base: CopiedBase): Promise<CopiedBase> {
  return { ...base, file: await open(`/proc/self/fd/${base.file.fd}`) }
}

function cannotSave(cause: unknown): MayflyError {
  const message = `Cannot fork a machine: ${messageOf(cause)}`
  return new MayflyError('UNAVAILABLE', message, { cause })
}
