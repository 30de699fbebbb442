import { mkdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { MayflyError } from '../contract/error.ts'
import { openDescriptor, readAt } from '../lib/file-descriptor.ts'
import { libraries } from './make-file-system.ts'
import type { Architecture } from './recipe.ts'
import { runTool } from './run-program.ts'
import type { Spool } from './spool.ts'
import type { ImageTree } from './tree.ts'

/**
 * Adds the compiled files of the Python sources of an image, made by the interpreter of that image.
 *
 * Problem: Debian packages contain no compiled code, because their maintainer scripts generate it at installation, and
 * an image is read-only: every job would compile its imports, which takes seconds for pandas.
 *
 * Mechanism: the interpreter of the image, started by the loader and libraries of the image like mkfs.erofs, runs
 * `guest/compile-image.py` over the spool. Its output contains no paths, only a size for each source.
 *
 * Relies on: the compiler is deterministic for equal sources with a fixed PYTHONHASHSEED and an otherwise empty
 * environment (the output has no times, and does not depend on the order of sources). Not handled: an interpreter that
 * needs other libraries than Debian's CPython 3.13.
 */
export interface PythonCompiling {
  readonly tree: ImageTree
  readonly spool: Spool
  /** File of the spool. */
  readonly spoolFile: string
  /** Globs of sources. */
  readonly sources: readonly string[]
  readonly architecture: Architecture
  /** Folder that must not exist. */
  readonly folder: string
  readonly signal: AbortSignal | undefined
}

const program = fileURLToPath(new URL('../../guest/compile-image.py', import.meta.url))
const interpreter = 'usr/bin/python3'
const neededLibraries = ['libc.so.6', 'libm.so.6', 'libz.so.1', 'libexpat.so.1']
/** Modules that the interpreter needs to start. */
const neededModules = [
  'os.py',
  ...['__init__', 'aliases', 'utf_8'].map((name) => `encodings/${name}.py`),
]
const compileMsMax = 600_000
const answerBytesMax = 2 ** 24
/** The index has one path per line, so a path must have no line end. */
const plainPath = /^[\x20-\x7e]+\.py$/

/**
 * Returns the number of sources that do not compile. Throws MayflyError INVALID if the image has no Python, and
 * INTERNAL.
 */
export async function compilePython(given: PythonCompiling): Promise<number> {
  const { tree, spool, sources, folder, signal } = given
  const found = tree.filesMatching(sources).filter(([place]) => plainPath.test(place))
  if (found.length === 0) return 0
  const [index, into] = [path.join(folder, 'index'), path.join(folder, 'compiled')]
  const python = writeInterpreter(given)
  writeFileSync(index, found.map(([place, { at, size }]) => `${at} ${size} ${place}\n`).join(''))
  let answer = ''
  const { code, stderr } = await runTool({
    // Empty environment: variables of this machine could change the output.
    command: ['env', '-i', 'PYTHONHASHSEED=0', ...python, program, given.spoolFile, index, into],
    msMax: compileMsMax,
    async read(stdout: Readable) {
      for await (const chunk of stdout.setEncoding('latin1')) {
        answer += String(chunk)
        if (answer.length > answerBytesMax) throw new RangeError('its output is too large')
      }
    },
    signal,
  })
  if (code !== 0) throw broken(`its Python ended with ${code}`, stderr)
  const [suffix = '', ...sizes] = answer.trimEnd().split('\n')
  if (!/^\.[a-z]+-\d+\.pyc$/.test(suffix) || sizes.length !== found.length)
    throw broken('its output is malformed', stderr)
  return addCompiled(
    { tree, spool, into, suffix },
    found.map(([place]) => place),
    sizes.map(Number),
  )
}

/** Command of the interpreter; its files are written below `folder`. */
function writeInterpreter({
  tree,
  spool,
  architecture,
  folder,
}: PythonCompiling): readonly string[] {
  const { folder: lib, loader } = libraries[architecture]
  const put = (from: string, to: string): string => {
    const node = tree.resolve(from)
    if (!node) throw new MayflyError('INVALID', `Cannot compile Python: the image has no "${from}"`)
    const file = path.join(folder, to)
    mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 })
    writeFileSync(file, spool.read(node.at, node.size), { mode: 0o700, flag: 'wx' })
    return file
  }
  const link = tree.get(interpreter)
  const name = link?.kind === 'link' ? path.posix.basename(link.target) : 'python3'
  if (!/^python3\.\d+$/.test(name))
    throw new MayflyError(
      'INVALID',
      `Cannot compile Python: "${interpreter}" is not a link to an interpreter`,
    )
  mkdirSync(path.join(folder, 'lib', name, 'lib-dynload'), { recursive: true, mode: 0o700 })
  for (const one of neededModules) put(`usr/lib/${name}/${one}`, `lib/${name}/${one}`)
  for (const one of neededLibraries) put(`${lib}/${one}`, `libraries/${one}`)
  const file = put(interpreter, `bin/${name}`)
  const start = [put(loader, 'libraries/loader'), '--library-path', path.join(folder, 'libraries')]
  return [...start, '--argv0', file, file, '-s', '-S', '-P', '-B']
}

function addCompiled(
  {
    tree,
    spool,
    into,
    suffix,
  }: Pick<PythonCompiling, 'tree' | 'spool'> & { readonly into: string; readonly suffix: string },
  places: readonly string[],
  sizes: readonly number[],
): number {
  using input = openDescriptor(into, 'r')
  let [failed, at] = [0, 0]
  for (const [index, place] of places.entries()) {
    const size = sizes[index]!
    if (!Number.isSafeInteger(size) || size < 0 || size > answerBytesMax)
      throw broken(`it reports ${size} bytes for "${place}"`, '')
    if (size === 0) failed += 1
    const bytes = readAt(input.fd, at, size)
    if (bytes.length < size) throw broken('its output is truncated', '')
    if (size > 0) addOne(tree, spool, { place: compiledName(place, suffix), bytes })
    at += size
  }
  return failed
}

/** A compiled file of a package is kept: the package may have no source for it. */
function addOne(
  tree: ImageTree,
  spool: Spool,
  { place, bytes }: { readonly place: string; readonly bytes: Buffer },
): void {
  if (tree.get(place)) return
  const entry = { kind: 'file', path: place, mode: 0o644, size: bytes.length, target: '' } as const
  tree.add(entry, spool.write(bytes))
}

function compiledName(place: string, suffix: string): string {
  const { dir, name } = path.posix.parse(place)
  return `${dir}/__pycache__/${name}${suffix}`
}

function broken(why: string, stderr: string): MayflyError {
  return new MayflyError('INTERNAL', `Cannot compile the Python of an image: ${why}`, {
    detail: stderr,
  })
}
