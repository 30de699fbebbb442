import { createHash } from 'node:crypto'
import {
  constants,
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Transform } from 'node:stream'
import { randomBytes } from 'node:crypto'
import { callClasses } from '../../../contract/calls.ts'
import { MayflyError } from '../../../contract/error.ts'
import { defaultImages } from '../../../contract/image-reference.ts'
import type { BootParts, RootBoot } from '../../../images/machine.ts'
import { findImage, imageFolder } from '../../../images/store.ts'
import { cacheFolder, makeCacheFolder } from '../../../lib/cache-folder.ts'
import { shellWord } from '../../../lib/shell-word.ts'
import { signerFolder } from '../../../lib/state-folder.ts'
import { imageKey } from '../../image-signer.ts'
import { guestProgram } from './guest-program.ts'
import type { PolicyCompiler } from './policy-compiler.ts'
import { jobDescriptor, runnerFiles } from './runner.ts'
import type { MachineKey } from './source.ts'

/**
 * Cache of the files that machines boot from.
 *
 * Problem: the image store belongs to the server, in a folder that no uid of a wall can enter; a VMM opens its files as the uid of
 * its wall, long after they were hashed.
 *
 * Mechanism: kernel, initrd and image are copied to a cache folder of the warden's user, named by their SHA-256, readable by
 * every user and writable by this user alone. An image is hashed while it is copied. A cached file is not hashed again, because
 * only this user could have changed it. Files unused for two weeks are removed when a boot is next composed.
 *
 * Relies on the signature of each manifest, by the key of the state folder. Not handled: changes of the cache by the warden's
 * own user.
 */
const FOLDER = 'machines'
const KEPT_MS = 14 * 24 * 60 * 60_000
/** Compositions in memory: a job chooses the bytes of its scratch space, so their number has no other bound. */
const KNOWN_MAX = 64
const HINT =
  'Build the images: "mayfly images build kernel node python"; a server that runs finds them within ten minutes'

export interface BootFilesParts<Boot> {
  /** State folder, whose images are booted. */
  readonly state: () => Promise<string>
  /** Programs to treat as missing. */
  readonly hide: readonly string[]
  readonly folder?: string | undefined
  /** Tag of the kernel image in the store; absent if the kernel is not in the store. */
  readonly kernel?: string
  /** Name or number by which the agent opens the port of the job. */
  readonly jobPort: string
  /** Compiles the initial AppArmor profile of programs; absent if the guest's kernel has no AppArmor. */
  readonly policies?: PolicyCompiler | undefined
  /** Builds the boot description of the files. */
  readonly compose: (parts: BootParts) => Boot
}

export class BootFiles<Boot extends RootBoot & { readonly kernel?: string }> {
  readonly #parts: BootFilesParts<Boot>
  readonly #folder: string
  readonly #known = new Map<string, Boot>()

  constructor(parts: BootFilesParts<Boot>) {
    this.#parts = parts
    this.#folder = parts.folder ?? cacheFolder(FOLDER)
  }

  /** Files and arguments for a boot. Throws MayflyError UNAVAILABLE, which names the missing part, and IMAGE_BROKEN. */
  async of({
    program,
    scratchBytes,
    image,
  }: Pick<MachineKey, 'program' | 'scratchBytes' | 'image'>) {
    const { compose, jobPort, kernel, hide } = this.#parts
    const state = await this.#parts.state()
    const store = imageFolder(state)
    const name = image === undefined ? defaultImages[program] : `sha256:${image}`
    const found = foundImages(store, { image: name, kernel })
    const key = [program, scratchBytes, found.image.digest, found.kernel?.digest].join(' ')
    const known = this.#known.get(key)
    this.#known.delete(key)
    if (known && isThere(known)) {
      this.#known.set(key, known)
      return known
    }
    const [agent, carrier, policy] = await Promise.all([
      guestProgram('agent', hide),
      guestProgram('carrier', hide),
      this.#policy(),
    ])
    openFolder(this.#folder)
    // Before any file is found: kernel and initrd of an earlier boot may be old, too.
    removeOld(this.#folder)
    const boot = compose({
      store,
      key: imageKey(signerFolder(state)),
      folder: this.#folder,
      image: found.image.digest,
      ...(found.kernel && { kernel: found.kernel.digest }),
      agent,
      ...(policy && { policy }),
      runner: runnerFiles(program, carrier),
      ports: { [jobDescriptor]: jobPort },
      scratchBytes,
    })
    const own = { ...boot, image: await copyImage(boot.image, boot.digests.image, this.#folder) }
    this.#known.set(key, own)
    if (this.#known.size > KNOWN_MAX) this.#known.delete(this.#known.keys().next().value!)
    return own
  }

  /** Undefined if none can be compiled; the wall then reports the missing layer (`PolicyCompiler.missing`). */
  async #policy(): Promise<Buffer | undefined> {
    return await this.#parts.policies?.compile(callClasses).catch(() => undefined)
  }
}

function foundImages(
  store: string,
  { image, kernel }: { readonly image: string; readonly kernel: string | undefined },
) {
  try {
    return {
      image: findImage(store, image),
      kernel: kernel === undefined ? undefined : findImage(store, kernel),
    }
  } catch (cause) {
    if (!(cause instanceof MayflyError) || cause.code !== 'NOT_FOUND') throw cause
    throw new MayflyError('UNAVAILABLE', `Cannot start a machine: ${reasonOf(cause)}`, {
      hint: HINT,
      cause,
    })
  }
}

const reasonOf = ({ message }: MayflyError) => message.replace(/^Cannot find/, 'there is no')

/** True if all files are cached; updates their times, which record the last use. */
function isThere({ kernel, initrd, image }: RootBoot & { readonly kernel?: string }): boolean {
  const files = [...(kernel === undefined ? [] : [kernel]), initrd, image]
  if (!files.every((file) => existsSync(file))) return false
  const now = new Date()
  for (const file of files) utimesSync(file, now, now)
  return true
}

/** Throws MayflyError STATE if other users can write to the folder. */
function openFolder(folder: string): void {
  makeCacheFolder(folder, 0o755)
  const { uid, mode } = lstatSync(folder)
  if (uid === process.getuid?.() && (mode & 0o022) === 0) return
  throw new MayflyError(
    'STATE',
    `Cannot cache boot files in "${folder}": other users can write to it`,
    {
      hint: `Remove it, or make it this user's alone: chmod go-w ${shellWord(folder)}`,
    },
  )
}

/** Copies and hashes in one pass; the copy gets its final name only if its digest matches. */
async function copyImage(from: string, digest: string, folder: string): Promise<string> {
  const to = path.join(folder, `${digest}.image`)
  if (existsSync(to)) return to
  const draft = path.join(folder, `.${randomBytes(6).toString('hex')}`)
  const hash = createHash('sha256')
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
  try {
    const fd = openSync(from, constants.O_RDONLY | constants.O_NOFOLLOW)
    const source = createReadStream('', { fd })
    await pipeline(source, hashing, createWriteStream(draft, { flags: 'wx', mode: 0o444 }))
    if (hash.digest('hex') !== digest)
      throw new MayflyError('IMAGE_BROKEN', `Cannot boot from image "${digest}": it has changed`)
    renameSync(draft, to)
    return to
  } finally {
    rmSync(draft, { force: true })
  }
}

function removeOld(folder: string): void {
  const before = Date.now() - KEPT_MS
  for (const name of readdirSync(folder)) {
    const file = path.join(folder, name)
    if ((statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Infinity) < before)
      rmSync(file, { force: true })
  }
}
