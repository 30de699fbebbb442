/**
 * Fills `dist/` for `npm pack` and `npm publish`, which call it (`prepack`) and have it removed again (`postpack`, with
 * `--clean`). Node strips no types inside node_modules, so the package has JavaScript: all of Mayfly in one file, the
 * programs of walls joined, the client, the library for older Nodes, declarations, and native halves whose packages would
 * build them by an install script. `files` in package.json lists what goes along as it is.
 *
 * A checkout runs its sources: there `dist/` counts for nothing.
 */
import { cpSync, existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { joinPrograms } from '../src/jail/join.js'
import { writeBundles } from './pack-bundle.ts'
import { writeTypes } from './pack-types.ts'

const root = join(import.meta.dirname, '..')
const made = join(root, 'dist')
const stage = join(root, `.cache/pack-${process.pid}`)
/** Platforms that have walls. Nodes that npm packages bring are linked with glibc. */
const natives = ['linux-x64', 'linux-arm64']
const nodeAbi = '147'

rmSync(made, { recursive: true, force: true })
if (!process.argv.includes('--clean')) await make()

async function make(): Promise<void> {
  try {
    mkdirSync(stage, { recursive: true })
    const native = copyNatives(join(stage, 'native'))
    await writeBundles(root, stage, [native])
    await joinPrograms(root, join(stage, 'joined'), true)
    writeTypes(root, join(stage, 'types'))
    assertImports()
    renameSync(stage, made)
  } finally {
    rmSync(stage, { recursive: true, force: true })
  }
}

/** Copies binaries of isolated-vm; returns the folder of their package. */
function copyNatives(into: string): string {
  const from = join(root, 'node_modules/isolated-vm')
  mkdirSync(into)
  for (const platform of natives)
    cpSync(
      join(from, `prebuilds/${platform}/isolated-vm.abi${nodeAbi}.glibc.node`),
      join(into, `isolated-vm-${platform}.node`),
    )
  return from
}

/** Throws Error where a file that goes along as it is imports one that does not. */
function assertImports(): void {
  const { files } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    readonly files: readonly string[]
  }
  const included = files.filter((one) => !one.startsWith('!'))
  const exclude = files.filter((one) => one.startsWith('!')).map((one) => one.slice(1))
  const sources = globSync(
    included.flatMap((one) => [one, `${one}/**`]),
    { cwd: root, exclude },
  ).filter((path) => path.endsWith('.js') && !path.startsWith('dist/'))
  const known = new Set(sources)
  const missing = sources.flatMap((path) =>
    [...readFileSync(join(root, path), 'utf8').matchAll(/^import\b[^'"]*'(\.[^']+)'$/gm)]
      .map(([, specifier]) => join(dirname(path), specifier!))
      .filter((target) => !known.has(target) && existsSync(join(root, target)))
      .map((target) => `${path} imports ${target}`),
  )
  if (missing.length > 0) throw new Error(`not in the package:\n${missing.join('\n')}`)
}
