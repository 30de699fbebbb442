import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import type { HostMessageOf } from '../../../agent-wire/encode.ts'
import type { RunnerFile } from '../../../images/machine.ts'
import { installedPrograms, joinedProgram } from '../../../jail/joined.ts'
import { nodeProgram, pythonProgram } from '../../../jail/whole-guests.ts'
import {
  pathInside,
  ownFolder,
  ownUidInside,
  settingsInside,
  wholeEnv,
  workFolder,
  type WholeProgram,
  type WholeSettings,
} from '../../../jail/whole.ts'
import type { AgentLink } from '../../../agent-wire/agent-link.ts'
import { jobProfile } from './policy-text.ts'
import { carrierProgram, type MachineKey } from './source.ts'

/**
 * The runner of a machine: Mayfly's files that are overlaid on the image, and the command by which the agent starts it.
 *
 * The runners are the same as in all walls of whole programs (`src/jail/whole-guests.ts`). They are in the initrd, so they are
 * not part of an image, and are covered by a template's key; the interpreter is the image's. The carrier (`guest/carrier`)
 * starts the runner and passes it its descriptors.
 */
export type MachineProgram = MachineKey['program']

/** Name of the job's port for the agent, and its descriptor in the carrier. */
export const jobDescriptor = 'job'
const JOB_FD = 3
/** Cgroup of the job's processes, by its name at the agent (guest/agent/group.c), and its descriptor in the carrier. */
const groupDescriptor = 'group'
const GROUP_FD = 4
/** Mounted by the agent (guest/agent/boot.h), which keeps it writable when it closes `write`. */
const resultFolder = '/run/result'
const CARRIER = `${ownFolder}/carrier`
/** Interpreters of the images. */
const interpreters: Readonly<Record<MachineProgram, string>> = {
  node: '/usr/bin/node',
  python: '/usr/bin/python3',
}
/** Limit of the readiness message of a runner: one byte, or the text of its error. */
export const readyBytesMax = 4_096
const KEPT = /\.(js|cjs|mjs|py|json|node)$/

/** Files overlaid on the image, with the compiled carrier. */
export function runnerFiles(
  program: MachineProgram,
  carrier: Uint8Array,
): ReadonlyMap<string, RunnerFile> {
  const files = new Map<string, RunnerFile>()
  files.set(CARRIER.slice(1), { mode: 0o555, body: carrier })
  for (const { from, at } of wholeOf(program, 0, false).places)
    if (from !== process.execPath) addTree(files, from, at.slice(1))
  return files
}

/** The agent's command for the carrier and its runner; `run` of `src/agent-wire/encode.ts`. */
export function runnerCommand(
  { program, isWarm, scratchBytes, isRoot }: MachineKey,
  {
    isCloned = false,
    isConfined = false,
  }: {
    /** True if a template is made of its machine. */
    readonly isCloned?: boolean
    /** True if the guest has an AppArmor profile for it. */
    readonly isConfined?: boolean
  },
): HostMessageOf<'run'> {
  const whole = wholeOf(program, scratchBytes, isWarm)
  const settings: WholeSettings = {
    ...settingsInside(whole),
    own: resultFolder,
    listens: false,
    ...(isCloned && { cloned: true }),
  }
  const main = pathInside(mainOf(program), whole.places)
  const runner = [interpreters[program], ...whole.flags, main, JSON.stringify(settings)]
  const numbers = [JOB_FD, GROUP_FD, isRoot ? 0 : ownUidInside].map(String)
  const own = [...numbers, workFolder, `${scratchBytes}`, isConfined ? jobProfile : '-', '--']
  return {
    kind: 'run',
    program: carrierProgram,
    streams: ['stdout'],
    // The carrier changes its uid after it has started the runner under another uid.
    uid: 0,
    gid: 0,
    stdoutCredit: readyBytesMax,
    stderrCredit: 0,
    file: CARRIER,
    folder: '/',
    args: [CARRIER, ...own, ...runner],
    variables: Object.entries(wholeEnv).map((pair) => pair.join('=')),
    descriptors: [
      { number: JOB_FD, name: jobDescriptor },
      { number: GROUP_FD, name: groupDescriptor },
    ],
  }
}

/** Whether AppArmor confines the programs of a guest of this key. */
export function isConfined(
  agent: Pick<AgentLink, 'can'>,
  { isUnconfined }: Pick<MachineKey, 'isUnconfined'>,
): boolean {
  return agent.can('confines') && !isUnconfined
}

function wholeOf(program: MachineProgram, scratchBytes: number, isWarm: boolean): WholeProgram {
  const { whole } = guestOf(program, scratchBytes, isWarm)
  if (!whole) throw new Error('a guest is a whole program')
  return whole
}

const mainOf = (program: MachineProgram) => guestOf(program, 0, false).main

/** In an installed package the runner of Node is a joined file: the package has not all of its modules. */
function guestOf(program: MachineProgram, scratchBytes: number, isWarm: boolean) {
  return program === 'node'
    ? joinedProgram(nodeProgram({ scratchBytes, isWarm, hasThreads: true }), installedPrograms)
    : pythonProgram({ scratchBytes, isWarm })
}

/** Adds the regular files of Mayfly that a runner may load; ignores links. */
function addTree(files: Map<string, RunnerFile>, from: string, at: string): void {
  if (statSync(from).isFile()) {
    files.set(at, { mode: 0o444, body: readFileSync(from) })
    return
  }
  for (const entry of readdirSync(from, { withFileTypes: true }))
    if (entry.isDirectory()) addTree(files, path.join(from, entry.name), `${at}/${entry.name}`)
    else if (entry.isFile() && KEPT.test(entry.name))
      addTree(files, path.join(from, entry.name), `${at}/${entry.name}`)
}
