/**
 * Builds the npm package: `node scripts/pack.ts [FOLDER]` writes the tarball there and prints its path. With `--no-check`
 * behind the folder the compiler checks no types, where `npm run ci -- types` has checked them. Node strips
 * no types inside node_modules, so each TypeScript file is replaced by JavaScript in the same folder, which keeps
 * relative paths valid.
 */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { libraryOf } from '../bin/bundle.js'
import { bundle, smallBundle } from '../bin/make-bundle.js'
import { joinPrograms } from '../src/jail/join.js'

const root = join(import.meta.dirname, '..')
const copied = [
  'bin',
  'guest',
  'images',
  'policies',
  'README.md',
  'THREAT_MODEL.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'LICENSE',
]
/** Entry points imported by other packages. */
const entries = ['src/index.ts', 'src/cli/main.ts', 'tests/conformance/suite.ts']

interface Manifest {
  scripts?: unknown
  devDependencies?: unknown
  exports: Record<string, unknown>
}

const stage = mkdtempSync(join(tmpdir(), 'mayfly-pack-'))
try {
  for (const name of copied) cpSync(join(root, name), join(stage, name), { recursive: true })
  compile(globSync(['src/**/*.ts', ...entries], { cwd: root, exclude: ['**/*.test.ts'] }))
  cpSync(join(root, 'src'), join(stage, 'src'), { recursive: true, filter: isNoTypeScript })
  await joinPrograms(stage, join(stage, 'joined'), true)
  writeFileSync(join(stage, 'package.json'), JSON.stringify(published(), undefined, 2))
  await writeBundle()
  const folder = resolve(process.argv[2] ?? '.')
  mkdirSync(folder, { recursive: true })
  console.log(pack(folder))
} finally {
  rmSync(stage, { recursive: true, force: true })
}

function compile(files: readonly string[]): void {
  const config = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: {
      noCheck: process.argv[3] === '--no-check',
      noEmit: false,
      declaration: true,
      rewriteRelativeImportExtensions: true,
      rootDir: root,
      outDir: stage,
      typeRoots: [join(root, 'node_modules/@types')],
    },
    include: [],
    files: files.map((file) => join(root, file)),
  }
  const configFile = join(stage, 'tsconfig.json')
  writeFileSync(configFile, JSON.stringify(config))
  execFileSync('tsc', ['--project', configFile], { stdio: ['ignore', 2, 2] })
  rmSync(configFile)
  // The compiler writes JavaScript that it meets anew, and realm files are carried into isolates as they are written.
  cpSync(join(root, 'guest'), join(stage, 'guest'), { recursive: true })
  for (const file of globSync('{src,tests,guest}/**/*.js', { cwd: stage })) renamePrograms(file)
}

/** Adapts paths in string literals, which the compiler leaves unchanged. */
function renamePrograms(file: string): void {
  const path = join(stage, file)
  const text = readFileSync(path, 'utf8')
  writeFileSync(path, text.replace(/(['"`])(\.\.?\/[^'"`\n]*)\.ts\1/g, '$1$2.js$1'))
}

/** Mayfly in one file, with the licences of the packages in it. */
async function writeBundle(): Promise<void> {
  const { code, inputs, names } = await bundle(stage)
  const folder = join(stage, 'bundle')
  mkdirSync(folder)
  writeFileSync(join(folder, 'mayfly.js'), code)
  const small = await smallBundle(stage)
  if (!small) throw new Error('the small bundle has no entry')
  writeFileSync(join(folder, 'small.js'), small.code)
  writeFileSync(join(folder, 'index.js'), libraryOf(names, './mayfly.js'))
  const packages = [...inputs, ...small.inputs].flatMap(
    ({ path }) => /.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [],
  )
  const licences = [...new Set(packages)].map(
    (place) =>
      `${place.slice(place.lastIndexOf('node_modules/') + 13)}\n\n${licenceIn(join(stage, place))}`,
  )
  writeFileSync(join(folder, 'LICENSES.txt'), licences.join('\n\n'))
}

/** Throws Error for a package without one. */
function licenceIn(folder: string): string {
  const [file] = globSync('{LICENSE,LICENCE,license}*', { cwd: folder })
  if (file === undefined) throw new Error(`no licence in "${folder}"`)
  return readFileSync(join(folder, file), 'utf8')
}

function isNoTypeScript(path: string): boolean {
  return !path.endsWith('.ts')
}

function published(): Manifest {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
  delete manifest.scripts
  delete manifest.devDependencies
  return {
    ...manifest,
    exports: {
      ...manifest.exports,
      '.': { types: './src/index.d.ts', default: './src/index.js' },
      './client': { types: './src/sdk/client.d.ts', default: './src/sdk/client.js' },
      './conformance': './tests/conformance/suite.js',
      './mock': {
        types: './src/tiers/mock/provider.d.ts',
        default: './src/tiers/mock/provider.js',
      },
    },
  }
}

function pack(folder: string): string {
  const text = execFileSync('npm', ['pack', '--json', '--pack-destination', folder], {
    cwd: stage,
    encoding: 'utf8',
  })
  const [made] = JSON.parse(text) as readonly { readonly filename: string }[]
  return join(folder, made?.filename ?? '')
}
