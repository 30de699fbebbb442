import { hash } from 'node:crypto'
import { chmodSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { uptime } from 'node:os'
import path from 'node:path'
import { deserialize, serialize } from 'node:v8'
import * as z from 'zod'
import { attempt } from '../../../lib/attempt.ts'
import { cacheFolder, makeCacheFolder } from '../../../lib/cache-folder.ts'
import { readBootId } from '../../../os/proc.ts'
import type { AgentHistory } from '../../../agent-wire/agent-link.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { folderOwners } from '../folder-owners.ts'
import { wallFolder } from '../wall-folder.ts'
import { whyChanged } from './hashed-file.ts'
import { leaseTemplate, removeTemplate, type Template } from './template.ts'
import type { TemplateUse } from '../agent-guest/templates.ts'

/**
 * Store of templates between wardens, so that the first machine of a server or of a single `mayfly run` is a clone and needs no
 * boot of seconds.
 *
 * A closing warden moves the folder of each intact template here; a warden that needs a template of the same name moves it to its
 * own folder of walls. rename(2) has one winner, so a template belongs to one warden at a time, without a lock. While a warden
 * has it, its lease covers it, and the sweep removes it if that warden is killed.
 *
 * Unchanged inodes show that the files are unchanged (hashed-file.ts), as before each clone of one warden: moving the folder does
 * not change them. After a clone that failed to start they are hashed. The folder has mode 0700 and belongs to the warden's user,
 * like the cache of compiled programs (src/jail/c-program.ts): an attacker who can write here can replace those as well.
 *
 * A name covers the boot id of the host and the release of Node, in addition to `templateKey`. Each move removes templates of other
 * boots, and those above `countMax`.
 *
 * Relies on rename(2). Not handled: a cache on another file system than the folders of walls; templates are then removed with
 * their warden.
 */
export interface StoredTemplate extends TemplateUse {
  readonly template: Template
}

const ABOUT_BYTES_MAX = 2 ** 20
const SAID_MAX = 256
const countMax = 4
const FORMAT = 1

const file = z.strictObject({
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  inode: z.string().max(SAID_MAX),
})
const object = z.record(z.string(), z.unknown())
const aboutShape = z.strictObject({
  format: z.literal(FORMAT),
  madeAtMs: z.number(),
  uses: z.number().int().nonnegative(),
  memory: file,
  state: file,
  turns: z
    .array(z.union([z.strictObject({ sent: object }), z.strictObject({ received: object })]))
    .max(SAID_MAX),
})

export class TemplateStore {
  readonly #folder: string
  readonly #ageMsMax: number

  constructor(ageMsMax: number, folder = cacheFolder('templates')) {
    this.#ageMsMax = ageMsMax
    this.#folder = folder
  }

  /**
   * Takes a template of this key with unchanged files; undefined if there is none. `wanted` supplies the other fields, which
   * follow from the key. Never rejects.
   */
  async take(
    wanted: Pick<Template, 'key' | 'memoryMiB' | 'accelerator' | 'image'>,
    host: GuestHost,
  ): Promise<StoredTemplate | undefined> {
    for (const name of this.#names(nameOf(wanted.key))) {
      const id = leaseTemplate(host)
      try {
        const found = this.#open(name, id, host)
        if (found) return { ...found, template: { ...wanted, ...found.template } }
      } catch {
        // Race: another warden moved it; or its files have changed.
      }
      await removeTemplate({ id }, host)
    }
    return undefined
  }

  /** Moves an intact template here, or removes it if that fails. Never rejects. */
  async put({ template, ageMs, uses }: StoredTemplate, host: GuestHost): Promise<void> {
    const { id, key, history, memory, state } = template
    try {
      const about = {
        format: FORMAT,
        madeAtMs: sinceBootMs() - ageMs,
        uses,
        memory: { sha256: memory.sha256, inode: memory.inode },
        state: { sha256: state.sha256, inode: state.inode },
        turns: [...history.turns],
      }
      const from = wallFolder(id)
      await writeFile(path.join(from, 'about'), serialize(about), { flag: 'wx', mode: 0o600 })
      chmodSync(from, 0o700)
      makeCacheFolder(this.#folder, 0o700)
      assertOwn(this.#folder)
      this.#removeAllBut(countMax - 1, nameOf(key))
      await rename(from, path.join(this.#folder, `${nameOf(key)}.${id}`))
    } catch {
      // Removed below, and made again when needed.
    }
    await removeTemplate({ id }, host)
  }

  #open(name: string, id: string, host: GuestHost) {
    const folder = wallFolder(id)
    assertOwn(this.#folder)
    folderOwners.note(id)
    renameSync(path.join(this.#folder, name), folder)
    const { madeAtMs, uses, turns, ...files } = readAbout(path.join(folder, 'about'))
    const ageMs = Math.max(0, sinceBootMs() - madeAtMs)
    const memory = { path: path.join(folder, 'memory'), ...files.memory }
    const state = { path: path.join(folder, 'state'), ...files.state }
    const isWhole = [memory, state].every((one) => whyChanged(one) === undefined)
    if (!isWhole || ageMs >= this.#ageMsMax) return undefined
    rmSync(path.join(folder, 'about'))
    // As root each clone has a uid of its own, which needs access to the files.
    if (host.isRoot) chmodSync(folder, 0o755)
    const history: AgentHistory = { turns: turns as unknown as AgentHistory['turns'] }
    return { template: { id, folder, history, memory, state }, ageMs, uses }
  }

  #names(start: string): readonly string[] {
    const names = attempt(() => readdirSync(this.#folder)) ?? []
    return names.filter((name) => name.startsWith(start))
  }

  /** Keeps one template per name, since several servers may store one each. */
  #removeAllBut(count: number, name: string): void {
    const boot = nameOf('').slice(0, BOOT_CHARACTERS)
    const isStale = (one: string) => !one.startsWith(boot) || one.startsWith(name)
    const all = this.#names('')
    const rest = all.filter((one) => !isStale(one)).map((one) => ({ one, at: this.#movedAt(one) }))
    const beyond = rest.toSorted((a, b) => b.at - a.at).slice(count)
    for (const one of [...all.filter(isStale), ...beyond.map((old) => old.one)])
      rmSync(path.join(this.#folder, one), { recursive: true, force: true })
  }

  #movedAt(name: string): number {
    return lstatSync(path.join(this.#folder, name), { throwIfNoEntry: false })?.ctimeMs ?? 0
  }
}

const BOOT_CHARACTERS = 16
const KEY_CHARACTERS = 32

/** Folder name of a template; different for each boot of the host, release of Node, and key. */
function nameOf(key: string): string {
  const boot = hash('sha256', `${FORMAT} ${readBootId()} ${process.version}`, 'hex')
  return `${boot.slice(0, BOOT_CHARACTERS)}-${key.slice(0, KEY_CHARACTERS)}`
}

/** Throws for a folder that another user can write to. */
function assertOwn(folder: string): void {
  const facts = lstatSync(folder)
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0)
    throw new Error(`the folder "${folder}" is accessible to other users`)
}

function readAbout(file: string): z.output<typeof aboutShape> {
  const { size } = lstatSync(file)
  if (size > ABOUT_BYTES_MAX) throw new Error(`"${file}" is too large`)
  return aboutShape.parse(deserialize(readFileSync(file)))
}

/** Milliseconds since the boot, including suspension; not affected by changes of the system clock. */
function sinceBootMs(): number {
  return uptime() * 1000
}
