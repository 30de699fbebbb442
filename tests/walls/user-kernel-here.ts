import { openOwnProgram } from '../../src/jail/own-programs.ts'
import assert from 'node:assert/strict'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { TestContext } from 'node:test'
import { mayInstallRunsc } from '../../scripts/debian-packages.ts'
import { buildImage } from '../../src/images/build.ts'
import { initrdOf } from '../../src/images/machine.ts'
import { openPackageCache, packageFolder } from '../../src/images/package-cache.ts'
import { ownMakers, ownRecipes } from '../../src/images/recipe.ts'
import { findImage, openImageStore } from '../../src/images/store.ts'
import { findProgram } from '../../src/os/find-program.ts'
import type { GuestHost } from '../../src/warden/engines/agent-guest/jailed-guest.ts'
import {
  startUserKernel,
  type KernelStart,
  type UserKernelProcess,
} from '../../src/warden/engines/user-mode-linux/process.ts'
import {
  bootModules,
  findKernelJailPrograms,
  findUserKernel,
  userKernelFolder,
} from '../../src/warden/engines/user-mode-linux/program.ts'
import { whyNoneBuilt } from '../fixtures/buildable.ts'
import { AgentHost } from '../fixtures/guest-agent.ts'
import { playedSigner } from '../fixtures/images.ts'
import { guestHost } from './qemu-here.ts'

export const noUserKernel = 'user-mode-linux 7.2 is missing'
const WAIT_MS_MAX = 120_000
const program = await openOwnProgram('agent')

/** Path of the unpacked kernel. With `CI=true` this throws if it is missing on a machine that may install it. */
export function isUserKernelThere(): boolean {
  const isThere = existsSync(userKernelFolder) && !!findProgram('bwrap') && !('missing' in program)
  if (!isThere && process.env['CI'] === 'true' && mayInstallRunsc()) throw new Error(noUserKernel)
  return isThere
}

export function agentBytes(): Buffer {
  assert.ok(!('missing' in program))
  return readFileSync(program.file)
}

/** Kernel of this machine, and the programs of its jail. */
export function kernelPrograms() {
  return { kernel: findUserKernel(), programs: findKernelJailPrograms() }
}

/** Folder that every uid can read, with an initrd of the agent in it. */
export function makeInitrd(): { readonly folder: string; readonly initrd: string } {
  const folder = mkdtempSync(path.join(tmpdir(), 'mayfly-user-kernel-'))
  chmodSync(folder, 0o755)
  const initrd = path.join(folder, 'initrd')
  writeFileSync(initrd, initrdOf(agentBytes(), bootModules(findUserKernel())), { mode: 0o644 })
  return { folder, initrd }
}

/** Builds an image below a folder; its file, or the reason why it cannot be built here. */
export async function builtImage(
  root: string,
  name: string,
): Promise<{ readonly file: string } | { readonly reason: string }> {
  using store = openImageStore(path.join(root, 'images'))
  const parts = {
    recipes: ownRecipes,
    makers: ownMakers,
    store,
    cache: openPackageCache(packageFolder()),
    signer: playedSigner(),
    tags: [],
    now: Date.now,
    note: () => undefined,
  }
  try {
    await buildImage({ ...parts, name })
    // The store is readable by its owner only, and the jail has another uid.
    const file = path.join(root, `${name}.erofs`)
    copyFileSync(findImage(path.join(root, 'images'), name).file, file)
    return { file }
  } catch (error) {
    const reason = whyNoneBuilt([name], error)
    if (reason === undefined) throw error
    return { reason }
  }
}

/** A guest of a user-mode kernel, with the host end of the agent channel. Released at the end of the test. */
export class PlayedGuest extends AgentHost {
  readonly guest: UserKernelProcess

  constructor(guest: UserKernelProcess) {
    super(guest.channel, WAIT_MS_MAX)
    this.guest = guest
  }

  static async boot(
    t: TestContext,
    parts: Pick<KernelStart, 'initrd' | 'image'> & Partial<KernelStart>,
    host: GuestHost = guestHost(),
  ): Promise<PlayedGuest> {
    const spec = { memoryMiB: 128, lines: 0, hasImage: true }
    const guest = startUserKernel({ ...kernelPrograms(), spec, ...parts }, host)
    t.after(() => guest.release())
    const played = new PlayedGuest(guest)
    await played.until(
      () => played.messages.some(({ kind }) => kind === 'hello' || kind === 'lost'),
      'hello',
    )
    guest.recordProcesses()
    return played
  }
}
