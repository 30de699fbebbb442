import assert from 'node:assert/strict'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import path from 'node:path'
import type { Language } from '../../src/contract/job.ts'
import type { WardenOptions } from '../../src/contract/warden-options.ts'
import { isAlive } from '../../src/os/proc.ts'
import { createFirecrackerProvider } from '../../src/tiers/firecracker/provider.ts'
import { makeOwnKernelWalls, whyNoImages } from '../conformance/microvm.ts'
import type { EgressOf } from '../conformance/program-walls.ts'
import { until, type Made } from '../conformance/stand.ts'
import { documentSkip } from '../fixtures/firecracker/document.ts'
import { whyNoGuest } from '../fixtures/firecracker/guest.ts'
import type { Play } from '../fixtures/firecracker/play.ts'
import { PlayedPrograms } from '../fixtures/firecracker/programs.ts'

/** Folder in which the engine has its jails. */
export const jails = '/srv/jailer/firecracker'

/** Reason why Firecracker cannot be played with a guest here, or undefined. */
export function whyNotPlayed(): string | undefined {
  return documentSkip || whyNoGuest() || whyNoKvm() || whyNoImages()
}

/** The played program needs no KVM, but the engine looks for it. */
function whyNoKvm(): string | undefined {
  try {
    accessSync('/dev/kvm', constants.R_OK | constants.W_OK)
    return undefined
  } catch {
    return '"/dev/kvm" cannot be opened'
  }
}

export interface PlayedWalls extends Made {
  readonly programs: PlayedPrograms
}

/** Walls of the engine with played programs first in PATH. Its close asserts that nothing is left. */
export async function makePlayed(
  language: Language,
  {
    play = {},
    options = {},
    egressParts,
  }: {
    readonly play?: Play
    readonly options?: Partial<WardenOptions>
    readonly egressParts?: EgressOf
  } = {},
): Promise<PlayedWalls> {
  const programs = new PlayedPrograms({ hasGuest: true, ...play })
  const before = process.env['PATH']
  process.env['PATH'] = `${programs.folder}${path.delimiter}${before}`
  const made = await makeOwnKernelWalls(createFirecrackerProvider, options, {
    language,
    egressParts,
  })
  return {
    ...made,
    programs,
    async close() {
      await made.close()
      process.env['PATH'] = before
      await until(() => programs.pids().every((pid) => !isAlive(pid)), 'the end of each machine')
      assert.deepEqual(programs.violations(), [])
      assert.deepEqual(
        programs.ids().filter((id) => existsSync(path.join(jails, id))),
        [],
      )
      programs[Symbol.dispose]()
    },
  }
}

/** Names of jails and of templates. */
export const entriesOf = () => (existsSync(jails) ? readdirSync(jails) : [])
