/**
 * Runs a bundle as a script, with the functions that V8 compiled of it in an earlier process.
 *
 * Problem. Node's compile cache has a module as it was before it ran: all functions inside it are compiled again in each process,
 * which was a tenth of the processor time of a run. Mechanism. `createCachedData` of a script that has run has the functions
 * that were called. They lie in the private folder of compiled code (`cache-folder.js`), a file for each root and
 * use, because a process that serves calls other functions than one that asks. V8 takes them if its version, its flags and the length of the
 * source are the same; the key stands for the content of the source.
 *
 * Write access to the file is code execution: it is read by the rules for bundles (`readTrusted`), and written at once or
 * not at all.
 */
const { readdirSync, renameSync, rmSync, existsSync, statSync, writeFileSync } =
  process.getBuiltinModule('node:fs')
const { dirname, join } = process.getBuiltinModule('node:path')

/** Files of one folder, of all roots and uses together. */
const FILES_MAX = 32
const NAME = /^code-([a-z0-9-]+)(%2F.*)$/
const UNFINISHED = /^making-\d+$/
const NAME_BYTES_MAX = 200
const WRITE_MS_MAX = 60_000

/**
 * File for the code of a use of a bundle; undefined without a folder, where the name would be too long, and where Node may keep
 * no compiled code.
 *
 * @param {string | undefined} folder private to this user
 * @param {string} use
 * @param {string} root
 */
export function codeFile(folder, use, root) {
  const name = `code-${use}${flagsOf(process)}${encodeURIComponent(root)}`
  const isOff = Boolean(process.env.NODE_DISABLE_COMPILE_CACHE) || !NAME.test(name)
  return folder === undefined || isOff || name.length > NAME_BYTES_MAX
    ? undefined
    : join(folder, name)
}

/** A part of the name for each set of flags, as V8 takes code with its own alone: processes with two sets would replace each other's. */
function flagsOf({ execArgv, env }) {
  const text = [...execArgv, env.NODE_OPTIONS ?? ''].join(' ').trim()
  let sum = 0
  for (let at = 0; at < text.length; at += 1) sum = (Math.imul(sum, 31) + text.charCodeAt(at)) >>> 0
  return text === '' ? '' : `-${sum.toString(16)}`
}

/**
 * @typedef {{ readonly script: import('node:vm').Script, keep(): void }} RunnableScript
 *   `keep` writes the functions that were called up to then, unless they were read; never throws
 *
 * @param {string} source
 * @param {{
 *   readonly url: string,
 *   readonly key: string,
 *   readonly file: string | undefined,
 *   readonly read: (file: string) => Buffer | undefined,
 * }} options `key` is of the content, in one line
 * @returns {RunnableScript}
 */
export function scriptOf(source, { url, key, file, read }) {
  const { Script, constants } = process.getBuiltinModule('node:vm')
  const kept = file === undefined ? undefined : attempt(() => codeIn(read(file), key))
  const script = new Script(source, {
    filename: url,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(kept && { cachedData: kept }),
  })
  let isKept = file === undefined || (kept !== undefined && !script.cachedDataRejected)
  return {
    script,
    keep() {
      if (isKept) return
      isKept = true
      attempt(() =>
        write(file, Buffer.concat([Buffer.from(`${key}\n`), script.createCachedData()])),
      )
    },
  }
}

/** @param {Buffer | undefined} bytes @param {string} key */
function codeIn(bytes, key) {
  const isOfKey = bytes?.latin1Slice(0, key.length + 1) === `${key}\n`
  return isOfKey ? bytes.subarray(key.length + 1) : undefined
}

/** @param {string | undefined} file @param {Buffer} bytes */
function write(file, bytes) {
  const making = join(dirname(file), `making-${process.pid}`)
  rmSync(making, { force: true })
  writeFileSync(making, bytes, { mode: 0o600, flag: 'wx', flush: true })
  renameSync(making, file)
  sweep(dirname(file))
}

/** Removes files of roots that are gone, the oldest ones above the limit, and those of killed writers. @param {string} folder */
function sweep(folder) {
  const files = readdirSync(folder).filter((name) => NAME.test(name) || UNFINISHED.test(name))
  const byAge = files.map((name) => ({ name, made: statSync(join(folder, name)).mtimeMs }))
  byAge.sort((a, b) => b.made - a.made)
  for (const [at, { name, made }] of byAge.entries()) {
    const [, , root] = NAME.exec(name) ?? []
    const isUsed = root ? existsSync(decodeURIComponent(root)) : Date.now() - made < WRITE_MS_MAX
    if (at >= FILES_MAX || !isUsed) rmSync(join(folder, name), { force: true })
  }
}

/** @template T @param {() => T} act @returns {T | undefined} */
function attempt(act) {
  try {
    return act()
  } catch {
    return undefined
  }
}
