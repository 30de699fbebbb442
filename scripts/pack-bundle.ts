import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { build, type BuildOptions, type Plugin, transform } from 'esbuild'
import {
  asAscii,
  common,
  english,
  namesOf,
  SCRIPT,
  smallBundle,
  withOwnUrl,
} from '../bin/make-bundle.js'
import { builtins, NATIVE } from '../src/jail/join.js'
import { thinMap } from './thin-map.ts'

/** Entries that other packages import, beside the library itself. */
export const entries = [
  'src/index.ts',
  'src/sdk/frameworks/ai.ts',
  'src/sdk/frameworks/codemode.ts',
  'src/sdk/frameworks/computesdk.ts',
  'src/sdk/frameworks/deepagents.ts',
  'src/tiers/mock/provider.ts',
  'tests/conformance/suite.ts',
]
/** Program that no entry names: the road of an application under an older Node. */
const host = 'src/sdk/bridge/host.ts'
/** Modules of the library that only Node 26 runs, and the one in their place for older Nodes. */
const onNode26 = ['src/sdk/mayfly.ts', 'src/sdk/box.ts', 'src/sdk/box-terminal.ts']
const onOlderNodes = 'src/sdk/bridge/classes.ts'
const oldestNode = 'node20'
/** Public classes that name themselves: esbuild writes `Box=class _Box`, and `_Box` would be the name in a message. */
const innerName = /\b_(Mayfly|Box|BoxTerminal)\b/g
/** A module that another one starts as a program or a thread, or resolves for others. */
const ownModule = /new URL\(\s*'(\.\.?\/[^']+)\.ts',\s*import\.meta\.url\s*,?\s*\)/g
/** A package that is loaded late. */
const lateImport = /createRequire\(import\.meta\.url\)\((?='[^']+'\))/g

/** Writes the files that run, with source maps, and the licences of all packages in them. */
export async function writeBundles(
  root: string,
  into: string,
  packages: readonly string[],
): Promise<void> {
  const parts = [...new Set([...entries, host, ...modulesNamed(root)])].sort()
  const inputs = await writeLarge(root, into, parts)
  for (const part of parts) await writePart(root, into, part)
  await writeOlder(root, into)
  for (const map of globSync('{*,older/*}.map', { cwd: into })) {
    // The stage lies elsewhere than the folder that it will be.
    const from = dirname(join('dist', map))
    const placeOf = (source: string) =>
      relative(from, relative(root, join(into, dirname(map), source)))
    writeFileSync(join(into, map), thinMap(readFileSync(join(into, map), 'utf8'), placeOf))
  }
  const small = await smallBundle(root)
  if (!small) throw new Error('the small bundle has no entry')
  writeFileSync(join(into, 'small.js'), small.code)
  const paths = [...inputs, ...small.inputs.map(({ path }) => path)]
  const joined = paths.flatMap(
    (path) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(join(root, path)) ?? [],
  )
  writeFileSync(join(into, 'LICENSES.txt'), licencesOf([...new Set([...joined, ...packages])]))
}

/** Joins all modules into one file, whose parts load when they are asked for. */
async function writeLarge(
  root: string,
  into: string,
  parts: readonly string[],
): Promise<readonly string[]> {
  const file = join(into, 'mayfly.cjs')
  const table = parts.map((part) => `${JSON.stringify(part)}: () => require('./${part}'),`)
  const { metafile } = await build({
    ...settings(root, file),
    ...SCRIPT,
    stdin: {
      contents: `export const main = (...words) => require('./src/cli/main.ts').main(...words)
const parts = { ${table.join('\n')} }
export const part = (name) => parts[name]()`,
      resolveDir: root,
    },
    external: NATIVE,
    plugins: [builtins, english, asImport, withoutValidator, shortNames, placing(root, '../')],
  })
  writeFileSync(file, asAscii(readFileSync(file, 'utf8').replaceAll(innerName, '$1')))
  writeFileSync(
    join(into, 'mayfly.js'),
    "import { openPacked } from '../bin/packed.js'\nexport const { main, part } = openPacked()\n",
  )
  return Object.keys(metafile!.inputs)
}

/** The entries for older Nodes: all but the road, which they call in another process. */
async function writeOlder(root: string, into: string): Promise<void> {
  const { outfile: _, ...rest } = settings(root, '')
  await build({
    ...rest,
    outdir: join(into, 'older'),
    entryPoints: entries.map((entry) => ({
      in: join(root, entry),
      // All in one folder, from which modules find files of the package.
      out: fileOf(entry).replace(/\.js$/, '').replaceAll('/', '-'),
    })),
    splitting: true,
    chunkNames: '[hash]',
    target: oldestNode,
    external: NATIVE,
    plugins: [builtins, english, inPlace(root), shortNames, placing(root, '../../')],
    define: { 'Promise.withResolvers': 'withResolvers' },
    inject: [join(root, 'src/sdk/bridge/older-node.ts')],
  })
}

/** Has a package that is loaded late be the modules that others import: its half for `require` would bring zod twice. */
const asImport: Plugin = {
  name: 'as-import',
  setup(made) {
    made.onResolve({ filter: /^[^.]/ }, ({ path, kind, importer, resolveDir }) => {
      if (kind !== 'require-call' || importer.includes('node_modules')) return undefined
      return made.resolve(path, { kind: 'import-statement', resolveDir })
    })
  },
}

/** Puts one module in the place of others, and takes no module for its effects alone. */
function inPlace(root: string): Plugin {
  const [stand, replaced] = [join(root, onOlderNodes), onNode26.map((one) => join(root, one))]
  return {
    name: 'in-place',
    setup({ onResolve }) {
      onResolve({ filter: /^\./ }, ({ path, resolveDir }) => {
        const file = join(resolveDir, path)
        if (file.includes('node_modules')) return undefined
        return { path: replaced.includes(file) ? stand : file, sideEffects: false }
      })
    },
  }
}

function settings(root: string, outfile: string): BuildOptions {
  return {
    ...common(root),
    outfile,
    write: true,
    bundle: true,
    minifySyntax: true,
    minifyWhitespace: true,
    // Node prints the line of an error that nobody caught.
    lineLimit: 160,
    legalComments: 'none',
    // Lines alone: columns and sources would double the package.
    sourcemap: 'linked',
    sourcesContent: false,
  }
}

/** The validator of the SDK of MCP is never used (`src/mcp/believing-validator.ts`), and is half of that SDK. */
const withoutValidator: Plugin = {
  name: 'without-validator',
  setup({ onLoad }) {
    onLoad({ filter: /@modelcontextprotocol\/.*\/ajvProvider-[\w-]+\.mjs$/ }, ({ path }) => {
      const [, names = ''] = /^export \{([^}]*)\};?$/m.exec(readFileSync(path, 'utf8')) ?? []
      const aliases = names.split(',').map((one) => `None as ${one.trim().split(/\s+/).at(-1)}`)
      const contents = `class None { getValidator() { throw new Error('Mayfly compiles no schema of MCP') } }
export { ${aliases.join(', ')} }`
      return { contents }
    })
  },
}

/** Shortens the names inside packages, of which the source map has no lines either. Names of Mayfly's own stay readable. */
const shortNames: Plugin = {
  name: 'short-names',
  setup({ onLoad }) {
    onLoad({ filter: /node_modules\/.*\.[cm]?js$/, namespace: 'file' }, async ({ path }) => {
      const { code } = await transform(readFileSync(path, 'utf8'), { minifyIdentifiers: true })
      return { contents: code }
    })
  },
}

/**
 * Has each module find files of the package from where its source lies, and modules that are programs in `dist/`. `up` leads
 * from the folder of the made file to the root.
 */
function placing(root: string, up: string): Plugin {
  return {
    name: 'placing',
    setup({ onLoad }) {
      onLoad({ filter: /\.[jt]s$/, namespace: 'file' }, ({ path }) => {
        const place = relative(root, path).split(sep).join('/')
        if (!/^(?:src|guest|bin|tests)\//.test(place)) return undefined
        const text = readFileSync(path, 'utf8').replace(ownModule, (_, to: string) => {
          const file = fileOf(posix.join(posix.dirname(place), `${to}.ts`))
          return `new URL(${JSON.stringify(`${up}dist/${file}`)}, import.meta.dist)`
        })
        const joined = place.startsWith('src/os/') ? text : text.replace(lateImport, 'require(')
        const contents = withOwnUrl(joined, place, up).replaceAll(
          'import.meta.dist',
          'import.meta.url',
        )
        return { contents, loader: path.endsWith('.ts') ? 'ts' : 'js' }
      })
    },
  }
}

/** Modules of Mayfly's that some module names by a URL. */
function modulesNamed(root: string): readonly string[] {
  return globSync('src/**/*.ts', { cwd: root, exclude: ['**/*.test.ts'] }).flatMap((path) =>
    [...readFileSync(join(root, path), 'utf8').matchAll(ownModule)].map(([, to]) =>
      posix.join(posix.dirname(path), `${to}.ts`),
    ),
  )
}

/** Place of a part below `dist/`. */
function fileOf(part: string): string {
  return part.replace(/^src\//, '').replace(/\.ts$/, '.js')
}

/** A file that loads a part, and exports what it does. */
async function writePart(root: string, into: string, part: string): Promise<void> {
  const file = fileOf(part)
  const large = posix.relative(posix.dirname(file), 'mayfly.js')
  const names = await namesOf(root, part)
  const all = names.length > 0 ? `export const { ${names.join(', ')} } = ` : ''
  const specifier = large.startsWith('.') ? large : `./${large}`
  mkdirSync(dirname(join(into, file)), { recursive: true })
  writeFileSync(
    join(into, file),
    `import { part } from '${specifier}'\n${all}part(${JSON.stringify(part)})\n`,
  )
}

/** Throws Error for a package without a licence. */
function licencesOf(folders: readonly string[]): string {
  const texts = folders.map((folder) => {
    const name = folder.slice(folder.lastIndexOf('node_modules/') + 13)
    const [file] = globSync('{LICENSE,LICENCE,license}*', { cwd: folder })
    if (file === undefined) throw new Error(`no licence in "${folder}"`)
    return `${name}\n\n${readFileSync(join(folder, file), 'utf8')}`
  })
  return texts.sort().join('\n\n')
}
