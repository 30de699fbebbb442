import assert from 'node:assert/strict'
import { execFile, execFileSync, spawnSync } from 'node:child_process'
import { createHmac, hash, randomBytes } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test, type TestContext } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { homeIn } from '../../bin/bundle.js'
import { smallBundle } from '../../bin/make-bundle.js'
import * as short from '../../bin/sha256.js'
import { findSmall, indexOf, openSmall } from '../../bin/small.js'
import { placeAttacks, plantedAttacks, stranger, type BundlePlace } from './bundle-attacks.ts'
import { probeLoads } from './loaded.ts'
import { bin, makePlace, mayfly, type Place } from './program.ts'

/** The small bundle of a plain attached `mayfly run`: trusted owners, the sources it is valid for, and its fallback. */
const own = join(import.meta.dirname, '../..')
const run = promisify(execFile)
const top = mkdtempSync(join(tmpdir(), 'mayfly-small-'))
chmodSync(top, 0o755)
after(() => rmSync(top, { recursive: true, force: true }))
const isRoot = process.getuid?.() === 0

interface Made extends BundlePlace {
  readonly index: string
}

const ENTRY = `import { greeting } from '../greeting.ts'
export async function runPlain(argv: readonly string[]): Promise<unknown> {
  if (argv.length > 0) await import('./part.ts')
  return [greeting, import.meta.url].join(' ')
}`

async function made(name: string): Promise<Made> {
  const [root, base] = [join(top, name), join(top, `${name}-cache`)]
  mkdirSync(join(root, 'src/cli'), { recursive: true })
  const write = (file: string, text: string) => writeFileSync(join(root, 'src', file), text)
  write('cli/attach-plain.ts', ENTRY)
  write('cli/attachment.ts', 'export class OwnRunNeeded extends Error {}\n')
  write('cli/part.ts', 'export const part = 1\n')
  write('cli/main.ts', 'export async function main(): Promise<void> {}\n')
  write('greeting.ts', "export const greeting: string = 'one'\n")
  write('index.ts', 'export class Fault extends Error {}\n')
  writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  await make(root, base)
  const home = homeIn(base, root)
  const index = join(base, indexOf(root)!)
  return { root, base, home, index, file: join(home, smallIn(home)[0]!) }
}

const make = (root: string, base: string) =>
  run(process.execPath, [
    '--disable-warning=ExperimentalWarning',
    '--input-type=module',
    '--eval',
    `import { makeBundle } from ${JSON.stringify(join(own, 'bin/make-bundle.js'))}
    await makeBundle(${JSON.stringify(root)}, ${JSON.stringify(base)})`,
  ])
const found = ({ root, base }: Made) => findSmall(root, [base])
const isFound = (one: Made) => found(one) !== undefined
const smallIn = (home: string) => readdirSync(home).filter((name) => name.startsWith('small-'))
const textIn = (one: Made) => found(one)!.bytes.toString()

suite('The small bundle', () => {
  test('A small bundle runs as if it were in the root, and falls back to the large bundle for a run that needs more', async () => {
    const one = await made('runs')
    const { runPlain } = openSmall(found(one)!, { root: one.root })
    const said: unknown = await runPlain([])
    assert.equal(said, `one ${pathToFileURL(join(one.root, 'src/cli/attach-plain.ts')).href}`)
    await assert.rejects(runPlain(['x']), { message: /no ".\/part.ts"/ })
  })

  test('Attack: the bytes that were checked are the bytes that run, also if the file is replaced', async () => {
    const one = await made('replaced')
    const bundle = found(one)!
    writeFileSync(one.file, 'throw new Error("altered after the check")')
    const { runPlain } = openSmall(bundle, { root: one.root })
    assert.match(String(await runPlain([])), /^one /)
    assert.equal(isFound(one), false)
  })

  test('A small bundle contains no package, no schema and few sources, because a start checks each source', async () => {
    const { inputs, code } = (await smallBundle(own))!
    const paths = inputs.map(({ path }) => path)
    assert.deepEqual(
      paths.filter((path) => /node_modules|config\/|assemble\/|warden\//.test(path)),
      // The server of a root's single run is started by these.
      ['artifacts-folder', 'make-state-folder', 'nice', 'start-server'].map(
        (name) => `src/warden/${name}.ts`,
      ),
    )
    assert.ok(paths.length < 100, `${paths.length} sources`)
    assert.ok(code.length < 132_000, `${code.length} bytes`)
    assert.match(code, /^[\0-\x7f]*$/)
  })

  test('Hashes of a small bundle are those of node:crypto', () => {
    for (let length = 0; length < 300; length += 1) {
      const [text, key] = [randomBytes(length), randomBytes(length % 150)]
      assert.equal(short.sha256(text), hash('sha256', text, 'hex'))
      const expected = createHmac('sha256', key).update(text).update(key).digest()
      assert.deepEqual(short.hmac(key, [text, key]), expected)
      assert.ok(short.areEqual(text, Buffer.from(text)))
      assert.equal(short.areEqual(text, Buffer.concat([text, Buffer.of(0)])), false)
      if (length === 0) continue
      const before = short.sha256(text)
      text[length - 1]! ^= 1
      assert.notEqual(short.sha256(text), before)
      assert.equal(short.sha256(text), hash('sha256', text, 'hex'))
    }
    assert.equal(short.sha256('ä'), hash('sha256', 'ä', 'hex'))
    const drawn = Array.from({ length: 100 }, () => short.drawBytes(32).toString('hex'))
    assert.equal(new Set(drawn).size, drawn.length)
    assert.ok(drawn.every((one) => one.length === 64))
  })
})

suite('A small bundle of unchanged sources', () => {
  test('is invalid after an edit of its sources, also if size and mtime are unchanged, and valid after other edits', async () => {
    const one = await made('edited')
    assert.equal(found(one)?.isFresh, true)
    appendFileSync(join(one.root, 'src/index.ts'), '// more\n')
    appendFileSync(join(one.root, 'src/cli/part.ts'), '// more\n')
    assert.equal(found(one)?.isFresh, true)
    const file = join(one.root, 'src/greeting.ts')
    const { atime, mtime } = statSync(file)
    writeFileSync(file, "export const greeting: string = 'two'\n")
    utimesSync(file, atime, mtime)
    assert.equal(isFound(one), false)
    await make(one.root, one.base)
    assert.match(textIn(one), /"two"/)
    assert.equal(smallIn(one.home).length, 1)
  })

  test('is invalid after a source is removed', async () => {
    const one = await made('gone')
    rmSync(join(one.root, 'src/greeting.ts'))
    assert.equal(isFound(one), false)
  })

  test('stays valid by its hash when a source has another mtime, until it is rebuilt', async () => {
    for (const [name, touched] of [
      ['touched-source', ({ root }: Made) => join(root, 'src/greeting.ts')],
      ['touched-file', ({ file }: Made) => file],
    ] as const) {
      const one = await made(name)
      utimesSync(touched(one), 1, 1)
      assert.equal(found(one)?.isFresh, false)
      await make(one.root, one.base)
      assert.equal(found(one)?.isFresh, true)
    }
  })

  test('leaves no index of a root that no longer exists after the next build', async () => {
    const one = await made('forgotten')
    const other = await made('other')
    rmSync(one.root, { recursive: true })
    await make(other.root, one.base)
    assert.equal(existsSync(one.index), false)
    assert.ok(findSmall(other.root, [one.base]))
  })
})

suite('A small bundle that is not trusted', () => {
  const byHash = (name: string) => ({ name, stat: null })
  const changeIndex = ({ index }: Made, change: object) =>
    writeFileSync(index, JSON.stringify({ ...JSON.parse(readFileSync(index, 'utf8')), ...change }))
  const attacks: Readonly<Record<string, (one: Made) => void>> = {
    ...placeAttacks,
    'has one byte changed, with the times of before': ({ file }) => {
      const { atime, mtime } = statSync(file)
      const bytes = readFileSync(file)
      bytes[bytes.indexOf('one')]! ^= 1
      writeFileSync(file, bytes)
      utimesSync(file, atime, mtime)
    },
    'has another file of the same length in its place': ({ file, home }) => {
      writeFileSync(join(home, 'other'), Buffer.alloc(statSync(file).size, ' '))
      renameSync(join(home, 'other'), file)
    },
    'is longer': ({ file }) => appendFileSync(file, '\nglobalThis.altered = true\n'),
    'is half-written': ({ file }) => truncateSync(file, 100),
    'is gone': ({ file }) => rmSync(file),
    'has an index that may be written by a group': ({ index }) => chmodSync(index, 0o664),
    'has an index with a second name': ({ index, root }) => linkSync(index, join(root, 'second')),
    'has an index that is a symbolic link': ({ index, root }) => {
      renameSync(index, join(root, 'elsewhere'))
      symlinkSync(join(root, 'elsewhere'), index)
    },
    'has an index that is a FIFO': ({ index }) => {
      rmSync(index)
      execFileSync('mkfifo', [index])
    },
    'has an index that is half-written': ({ index }) => truncateSync(index, 50),
    'has an index without sources': (one) => changeIndex(one, { inputs: undefined }),
    'has an index that names a file elsewhere': (one) => {
      const code = readFileSync(one.file)
      const name = `small-${hash('sha256', code, 'hex')}`
      changeIndex(one, byHash(name))
      assert.ok(isFound(one), 'its hash is enough')
      writeFileSync(join(one.root, name), code)
      changeIndex(one, byHash(`../../${one.root.split('/').at(-1)}/${name}`))
    },
    'has an index that names a folder elsewhere': (one) => {
      const elsewhere = join(top, 'elsewhere-of-index')
      mkdirSync(elsewhere, { mode: 0o755 })
      renameSync(one.file, join(elsewhere, one.file.split('/').at(-1)!))
      changeIndex(one, { home: '../elsewhere-of-index', stat: null })
    },
  }
  const planted: Readonly<Record<string, (one: Made) => void>> = {
    ...plantedAttacks,
    'has an index of another user': ({ index }) => chownSync(index, stranger, stranger),
  }
  const attacked = async (title: string, attack: (one: Made) => void) => {
    const one = await made(title.replaceAll(/\W+/g, '-'))
    assert.ok(isFound(one))
    attack(one)
    assert.equal(isFound(one), false)
  }
  for (const [title, attack] of Object.entries(attacks))
    test(`Attack: ${title}`, () => attacked(title, attack))
  for (const [title, attack] of Object.entries(planted))
    test(`Attack: ${title}`, { skip: !isRoot && 'needs root' }, () => attacked(title, attack))

  test('An altered small bundle is replaced by the next build', async () => {
    const one = await made('mended')
    appendFileSync(one.file, '\n')
    await make(one.root, one.base)
    assert.equal(found(one)?.isFresh, true)
  })
})

suite(
  'A plain run with the small bundle',
  { skip: process.platform !== 'linux' && 'Linux alone' },
  () => {
    const small = ['bundle/small.js']
    const both = [...small, 'bundle/mayfly.js']

    test('A plain run ends as with the sources, and other command lines use the large bundle', async (t) => {
      const place = await placeWithBundles(t)
      using probe = probeLoads()
      const say = async (words: readonly string[], stdin = '', program = bin) => {
        const options = {
          cwd: place.cwd,
          env: { ...place.env, ...probe.env },
          input: stdin,
        }
        const args = [...probe.flags, program, 'run', ...words]
        const ran = spawnSync(process.execPath, args, { ...options, encoding: 'utf8' })
        const { status, signal, stdout, stderr } = ran
        return { status, signal, stdout: settled(stdout), stderr: settled(stderr) }
      }
      const write = (name: string, text: string) => writeFileSync(join(place.cwd, name), text)
      const sources = join(place.cwd, 'sources.mjs')
      const main = JSON.stringify(join(own, 'src/cli/main.ts'))
      write('sources.mjs', `await (await import(${main})).main(process.argv.slice(2))`)
      write('hello.js', 'console.log("hello"); return { sum: input?.a + 1 }')
      write('read.py', 'import sys\nprint(sys.stdin.read()[::-1], sys.argv[1:])\nsys.exit(3)')
      write('throws.js', 'console.error("bad")\nthrow new TypeError("no")')
      write('loop.js', 'while (true) {}')
      write('packages.js', 'import { parse } from "acorn"\nreturn typeof parse')
      write('a b.js', 'return 1')
      write('latin1.js', Buffer.from([0x22, 0xe9, 0x22]).toString('latin1'))
      writeFileSync(join(place.cwd, 'broken.js'), Buffer.from([0x22, 0xe9, 0x22]))
      // The first run finds no server.
      assert.equal((await say(['hello.js'])).status, 0)
      assert.deepEqual(probe.take().slice(0, 2), both)
      const lines: readonly (readonly [readonly string[], string?])[] = [
        [['hello.js', '--input', '{"a":4}']],
        [['hello.js', '--input', '{"a":4}', '--quiet']],
        [['hello.js', '--input', '{"a":4}', '--json=short']],
        [['read.py', '--pass-exit-code', '--quiet', '--', 'x', '--json'], 'abc'],
        [['read.py', '--stdin', '--timeout', '5s'], 'abc'],
        [['throws.js']],
        [['throws.js', '--json=short']],
        [['loop.js', '--timeout', '100ms', '--quiet']],
        [['hello.js', '--provider', 'nonsense']],
        [['hello.js', '--timeout', 'soon']],
        [['hello.js', '--timeout', 'soon', '--json']],
        [['hello.js', '--input', '{']],
        [['hello.js', '--schedule', 'nonsense', '--no-packages', '--idempotent']],
        [['latin1.js']],
        [['broken.js']],
      ]
      for (const [words, stdin] of lines) {
        const bySmall = await say(words, stdin)
        assert.deepEqual(probe.take(), small, words.join(' '))
        const bySources = await say(words, stdin, sources)
        assert.deepEqual(probe.take(), ['src/cli/main.ts'], words.join(' '))
        assert.deepEqual(bySmall, bySources, words.join(' '))
      }
      const left: readonly (readonly [readonly string[], readonly string[], string?])[] = [
        [['-', '--quiet'], both, 'return 6 * 7'],
        [['packages.js', '--quiet'], both],
        [['a b.js', '--quiet'], both],
        [['hello.js', '--explain'], both],
        [['hello.js', '--tier', 'isolate', '--quiet'], both],
        [['missing.js'], isRoot ? both : small],
        [['hello.js', '--once', '--quiet'], isRoot ? both : both.slice(1)],
      ]
      for (const [words, expected, stdin] of left) {
        const byBundles = await say(words, stdin)
        assert.deepEqual(probe.take().slice(0, 2), expected, words.join(' '))
        assert.deepEqual(byBundles, await say(words, stdin, sources), words.join(' '))
        probe.take()
      }
    })
  },
)

/** A working folder whose user has both bundles of this checkout, as after a first command. */
async function placeWithBundles(t: TestContext): Promise<Place> {
  const place = makePlace()
  t.after(async () => {
    await mayfly(place, ['serve', '--stop', '--quiet'])
    place.remove()
  })
  const env = { ...place.env, CI: '' }
  const program = `import { findSmall } from ${JSON.stringify(join(own, 'bin/small.js'))}
    import { findBundle } from ${JSON.stringify(join(own, 'bin/bundle.js'))}
    process.exitCode = findSmall()?.isFresh && findBundle()?.isFresh ? 0 : 1`
  const isThere = () =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', program], { env }).status === 0
  // Another maker may hold the lock.
  for (let tries = 0; !isThere(); tries += 1) {
    assert.ok(tries < 60, 'no bundles')
    await run(process.execPath, [join(own, 'bin/make-bundle.js')], { env })
  }
  return { ...place, env }
}

/** Text without ids and numbers, which differ from run to run, and without the peak: a short job may end before a sample. */
function settled(text: string): string {
  return text
    .replace(/\bexec_[0-9a-f]+/g, 'ID')
    .replace(/ · peak \S+ \S+/g, '')
    .replace(/-?\d+(?:\.\d+)?(?:e-?\d+)?/g, '#')
}
