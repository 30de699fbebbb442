import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { findBundle, homeIn, openBundle } from '../../bin/bundle.js'
import { ownBase } from '../../bin/small.js'
import { placeAttacks, plantedAttacks, stranger, type BundlePlace } from './bundle-attacks.ts'

/** The bundle, Mayfly in one file: which owners are trusted, and for which sources it is valid. */
const own = join(import.meta.dirname, '../..')
const run = promisify(execFile)
const top = mkdtempSync(join(tmpdir(), 'mayfly-bundle-'))
chmodSync(top, 0o755)
after(() => rmSync(top, { recursive: true, force: true }))
const isRoot = process.getuid?.() === 0

/** Builds the bundle of a small stub of Mayfly in its own process, as the real build runs. */
type Made = BundlePlace

const MAIN = `import { greeting } from '../greeting.ts'
import { Fault } from '../index.ts'
export async function main(argv: readonly string[]): Promise<string> {
  const library = await import(argv[0]!)
  return [greeting, import.meta.url, new library.Fault() instanceof Fault].join(' ')
}`

async function made(name: string): Promise<Made> {
  const [root, base] = [join(top, name), join(top, `${name}-cache`)]
  mkdirSync(join(root, 'src/cli'), { recursive: true })
  writeFileSync(join(root, 'src/cli/main.ts'), MAIN)
  writeFileSync(join(root, 'src/greeting.ts'), "export const greeting: string = 'one'\n")
  writeFileSync(join(root, 'src/index.ts'), "export { Fault } from './fault.ts'\n")
  writeFileSync(join(root, 'src/fault.ts'), 'export class Fault extends Error {}\n')
  writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  await make(root, base)
  const home = homeIn(base, root)
  return { root, base, home, file: join(home, bundlesIn(home)[0]!) }
}

const makes = (root: string, base: string) => [
  '--disable-warning=ExperimentalWarning',
  '--input-type=module',
  '--eval',
  `import { makeBundle } from ${JSON.stringify(join(own, 'bin/make-bundle.js'))}
  await makeBundle(${JSON.stringify(root)}, ${JSON.stringify(base)})`,
]
const make = (root: string, base: string) => run(process.execPath, makes(root, base))
const found = ({ root, base }: Made) => findBundle(root, [base])
const isFound = (one: Made) => found(one) !== undefined
const bundlesIn = (home: string) =>
  readdirSync(home).filter((name) => name !== 'lock' && name !== 'root')

async function until(isThere: () => boolean): Promise<void> {
  for (let tries = 0; tries < 600 && !isThere(); tries++) await wait(100)
  assert.ok(isThere(), 'not in time')
}

suite('Mayfly in one file', () => {
  test('A bundle runs as if it were in the root, modules keep their paths, and a library shares its classes', async () => {
    const one = await made('runs')
    const { main } = openBundle(found(one)!, { root: one.root })
    const at = (place: string) => pathToFileURL(join(one.root, place)).href
    const said: unknown = await main([at('src/index.ts')])
    assert.equal(said, `one ${at('src/cli/main.ts')} true`)
  })

  test('The bytes that were checked are the bytes that run, also if the file is replaced', async () => {
    const one = await made('replaced')
    const bundle = found(one)!
    writeFileSync(one.file, 'throw new Error("altered after the check")')
    const { main } = openBundle(bundle, { root: one.root })
    assert.match(String(await main([join(one.root, 'src/index.ts')])), /^one /)
    assert.equal(isFound(one), false)
  })
})

suite('A bundle of unchanged sources', () => {
  test('is invalid after an edit, also if size and mtime are unchanged', async () => {
    const one = await made('edited')
    assert.equal(found(one)?.isFresh, true)
    const file = join(one.root, 'src/greeting.ts')
    const { atime, mtime } = statSync(file)
    writeFileSync(file, "export const greeting: string = 'two'\n")
    utimesSync(file, atime, mtime)
    assert.equal(isFound(one), false)
    await make(one.root, one.base)
    assert.match(found(one)!.bytes.toString(), /"two"/)
  })

  test('is invalid after a source is removed', async () => {
    const one = await made('gone')
    rmSync(join(one.root, 'src/fault.ts'))
    assert.equal(isFound(one), false)
  })

  test('stays valid when a source with the same content has another mtime, until it is rebuilt', async () => {
    const one = await made('touched')
    utimesSync(join(one.root, 'src/greeting.ts'), 1, 1)
    assert.equal(found(one)?.isFresh, false)
    await make(one.root, one.base)
    assert.equal(found(one)?.isFresh, true)
    assert.equal(bundlesIn(one.home).length, 1)
  })

  test('is kept for three generations, each found by its content', async () => {
    const one = await made('older')
    const write = (text: string) =>
      writeFileSync(join(one.root, 'src/greeting.ts'), `export const greeting = '${text}'\n`)
    for (const text of ['two', 'three', 'four']) {
      write(text)
      await make(one.root, one.base)
    }
    assert.equal(bundlesIn(one.home).length, 3)
    write('three')
    assert.match(found(one)!.bytes.toString(), /"three"/)
    write('one')
    assert.equal(isFound(one), false)
  })
})

suite('A bundle that is not trusted', () => {
  const attacks: Readonly<Record<string, (one: Made) => void>> = {
    ...placeAttacks,
    'is altered': ({ file }) => appendFileSync(file, '\nglobalThis.altered = true\n'),
    'is half-written': ({ file }) => truncateSync(file, 1000),
    'has no header': ({ file }) => writeFileSync(file, 'export const main = () => undefined'),
  }
  for (const [title, attack] of Object.entries(attacks))
    test(title, async () => {
      const one = await made(title.replaceAll(' ', '-'))
      assert.ok(isFound(one))
      attack(one)
      assert.equal(isFound(one), false)
    })
  for (const [title, attack] of Object.entries(plantedAttacks))
    test(title, { skip: !isRoot && 'needs root' }, async () => {
      const one = await made(title.replaceAll(' ', '-'))
      attack(one)
      assert.equal(isFound(one), false)
    })

  test(
    'is not built in a folder that another user could have written',
    { skip: !isRoot && 'needs root' },
    async () => {
      const one = await made('refuses')
      chownSync(one.home, stranger, stranger)
      await assert.rejects(make(one.root, one.base), /not this user's alone/)
      chownSync(one.home, 0, 0)
      chmodSync(one.base, 0o777)
      await assert.rejects(make(one.root, one.base), /not this user's alone/)
    },
  )

  test('An altered bundle is replaced by the next build', async () => {
    const one = await made('mended')
    appendFileSync(one.file, '\n')
    await make(one.root, one.base)
    assert.ok(found(one)?.isFresh)
    assert.equal(bundlesIn(one.home).length, 1)
  })

  test(
    'A server of another uid runs the bundle of root',
    { skip: !isRoot && 'needs root' },
    async () => {
      const one = await made('by-root')
      const program = `import { findBundle } from ${JSON.stringify(join(own, 'bin/bundle.js'))}
      process.stdout.write(String(findBundle(${JSON.stringify(one.root)}, [${JSON.stringify(one.base)}]) !== undefined))`
      const args = ['--input-type=module', '--eval', program]
      const options = { uid: stranger, gid: stranger, env: {}, cwd: '/' } as const
      const { stdout } = await run(process.execPath, args, options)
      assert.equal(stdout, 'true')
    },
  )

  test('Attack: the server of a root warden uses no bundle from a HOME of its own uid', async () => {
    const home = join(top, 'home-of-server')
    const base = join(home, '.cache/mayfly/bundle')
    const { root } = await made('of-server')
    await make(root, base)
    const program = `import { findBundle } from ${JSON.stringify(join(own, 'bin/bundle.js'))}
    process.stdout.write(String(findBundle(${JSON.stringify(root)}) !== undefined))`
    const isFoundIn = async (role: object | undefined) => {
      const env = { HOME: home, ...(role && { MAYFLY_ROLE: JSON.stringify(role) }) }
      const as = isRoot ? { uid: stranger, gid: stranger } : {}
      const args = ['--input-type=module', '--eval', program]
      return (await run(process.execPath, args, { ...as, env, cwd: '/' })).stdout === 'true'
    }
    assert.equal(await isFoundIn(undefined), true)
    assert.equal(await isFoundIn({ kind: 'server', shutOut: '/warden' }), true)
    assert.equal(await isFoundIn({ kind: 'server', shutOut: null }), false)
  })
})

suite('Builds of bundles', () => {
  test('two at once leave one bundle, and the next build removes the files of a killed one', async () => {
    const one = await made('makers')
    rmSync(one.file)
    await Promise.all([make(one.root, one.base), make(one.root, one.base)])
    assert.equal(bundlesIn(one.home).length, 1)
    writeFileSync(join(one.home, 'making-999999999'), 'half')
    const killed = spawn(process.execPath, makes(one.root, one.base), { stdio: 'ignore' })
    const ended = once(killed, 'exit')
    const isMaking = () => existsSync(join(one.home, `making-${killed.pid}`))
    for (let n = 0; n < 5_000 && killed.exitCode === null && !isMaking(); n++) await wait(1)
    killed.kill('SIGKILL')
    await ended
    await make(one.root, one.base)
    assert.deepEqual(bundlesIn(one.home).length, 1)
    assert.ok(found(one)?.isFresh)
  })

  test('remove the folder of a root that no longer exists', async () => {
    const gone = await made('forgotten')
    rmSync(gone.root, { recursive: true })
    const other = join(top, 'edited')
    await make(other, gone.base)
    assert.equal(existsSync(gone.home), false)
    assert.deepEqual(readdirSync(gone.base), [basename(homeIn(gone.base, other))])
  })

  test('are started by a command, and the next command runs the bundle', async () => {
    const { root } = await made('checkout')
    for (const name of ['bin', 'src/jail/generations.js', 'src/jail/join.js', 'src/os/libc.js'])
      cpSync(join(own, name), join(root, name), { recursive: true })
    writeFileSync(
      join(root, 'src/cli/main.ts'),
      `export async function main() { process.stdout.write(new Error().stack!) }`,
    )
    symlinkSync(join(own, 'node_modules'), join(root, 'node_modules'))
    const env = { ...process.env, XDG_CACHE_HOME: join(top, 'cache'), NODE_V8_COVERAGE: '' }
    mkdirSync(env.XDG_CACHE_HOME, { mode: 0o700 })
    const base = isRoot ? ownBase() : join(env.XDG_CACHE_HOME, 'mayfly/bundle')
    const home = homeIn(base, `${root}/`)
    try {
      const say = async (more = {}) => {
        const { stdout } = await run(process.execPath, [join(root, 'bin/mayfly.js')], {
          env: { ...env, ...more },
        })
        return stdout
      }
      assert.match(await say(), /src\/cli\/main\.ts/)
      await until(() => existsSync(home) && bundlesIn(home).some((name) => name.length > 80))
      assert.match(await say(), /bundle\/mayfly\.js/)
      assert.match(await say({ NODE_V8_COVERAGE: join(top, 'coverage') }), /src\/cli\/main\.ts/)
      const file = join(home, bundlesIn(home)[0]!)
      writeFileSync(file, readFileSync(file, 'utf8').replace('process.stdout', 'process.stderr'))
      assert.match(await say(), /src\/cli\/main\.ts/, basename(file))
      await until(() => findBundle(`${root}/`, [base]) !== undefined)
    } finally {
      rmSync(home, { recursive: true, force: true })
    }
  })
})
