import { hash, randomBytes } from 'node:crypto'
import { chmodSync, lstatSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { uptime } from 'node:os'
import path from 'node:path'
import { deserialize, serialize } from 'node:v8'
import * as z from 'zod'
import { cacheFolder, makeCacheFolder } from '../../../lib/cache-folder.ts'
import { bootId } from '../../../os/proc.ts'
import type { AgentHistory } from '../../../agent-wire/agent-link.ts'
import type { GuestHost } from '../agent-guest/jailed-guest.ts'
import { remainsOf } from '../sweep.ts'
import { folderOwners } from '../folder-owners.ts'
import { wallFolder } from '../wall-folder.ts'
import { whyChanged } from './hashed-file.ts'
import { removeTemplate, type Template } from './template.ts'
import type { TemplateUse } from '../agent-guest/templates.ts'

/**
 * Templates between wardens, so that the first machine of a server or of a lone `mayfly run` is a clone, not a boot of seconds.
 *
 * A warden that closes moves the folder of each whole template here, and one that wants a template of the same name moves it
 * out again, to its own folder of walls. A move has one winner, so a template is one warden's at any time, and needs no lock; while
 * a warden has it, its lease covers it as before, and one that is killed leaves it to the sweep.
 *
 * The files are those that were kept if their inodes say so (hashed-file.ts), as before each clone of one warden: a move of
 * their folder changes no inode. A clone that does not come up has them hashed. The folder has mode 0700 and belongs to the
 * warden's user, under the rules of programs that it compiled (src/jail/c-program.ts): its writer could replace those as well.
 *
 * A name covers this boot of the host and this release of Node, beside all that `templateKey` covers. Templates of another boot,
 * and those beyond `countMax`, are removed at each move.
 *
 * Relies on rename(2). Does not handle: a cache on another file system than the folders of walls, where templates end
 * with their warden.
 */
export interface ShelvedTemplate extends TemplateUse {
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

export class TemplateShelf {
  readonly #folder: string
  readonly #ageMsMax: number

  constructor(ageMsMax: number, folder = cacheFolder('templates')) {
    this.#ageMsMax = ageMsMax
    this.#folder = folder
  }

  /**
   * StartingGuests a template of this key, whose files are those that were kept; undefined where there is none. The rest
   * of its description is the caller's, who knows the key. Never rejects.
   */
  async take(
    wanted: Pick<Template, 'key' | 'memoryMiB' | 'accelerator' | 'image'>,
    host: GuestHost,
  ): Promise<ShelvedTemplate | undefined> {
    for (const name of this.#names(nameOf(wanted.key))) {
      const id = `t${randomBytes(8).toString('hex')}`
      host.lease(id, remainsOf([], null))
      try {
        const found = this.#open(name, id, host)
        if (found) return { ...found, template: { ...wanted, ...found.template } }
      } catch {
        // Another warden has moved it, or it is not what was kept.
      }
      await removeTemplate({ id }, host)
    }
    return undefined
  }

  /** Moves a whole template here, or removes it where that cannot be. Never rejects. */
  async put({ template, ageMs, uses }: ShelvedTemplate, host: GuestHost): Promise<void> {
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
      // Made again when it is wanted.
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
    // As root each clone has a uid of its own, which has to find the files.
    if (host.isRoot) chmodSync(folder, 0o755)
    const history: AgentHistory = { turns: turns as unknown as AgentHistory['turns'] }
    return { template: { id, folder, history, memory, state }, ageMs, uses }
  }

  #names(start: string): readonly string[] {
    try {
      return readdirSync(this.#folder).filter((name) => name.startsWith(start))
    } catch {
      return []
    }
  }

  /** Keeps one of a name: servers that run at once bring one each. */
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

/** Templates of two boots, two releases of Node or two keys never share a name. */
function nameOf(key: string): string {
  const boot = hash('sha256', `${FORMAT} ${bootId()} ${process.version}`, 'hex')
  return `${boot.slice(0, BOOT_CHARACTERS)}-${key.slice(0, KEY_CHARACTERS)}`
}

/** Throws for a folder that another user could have filled. */
function assertOwn(folder: string): void {
  const facts = lstatSync(folder)
  if (!facts.isDirectory() || facts.uid !== process.getuid?.() || (facts.mode & 0o077) !== 0)
    throw new Error(`the folder "${folder}" is not this user's alone`)
}

function readAbout(file: string): z.output<typeof aboutShape> {
  const { size } = lstatSync(file)
  if (size > ABOUT_BYTES_MAX) throw new Error(`"${file}" is too large`)
  return aboutShape.parse(deserialize(readFileSync(file)))
}

/** Counts while the host is suspended too, and nobody can set it. */
function sinceBootMs(): number {
  return uptime() * 1000
}
