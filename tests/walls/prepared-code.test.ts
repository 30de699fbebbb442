import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { openCompiled } from '../../src/jail/compiled.ts'
import { after, suite, test } from '../fixtures/drawn.ts'

/** The folder of prepared code, made by a background process that survives its command. */
const here = (place: string) => fileURLToPath(new URL(`../../${place}`, import.meta.url))
const run = promisify(execFile)
const top = mkdtempSync(join(tmpdir(), 'mayfly-prepared-'))
after(() => rmSync(top, { recursive: true, force: true }))
const waitMsMax = 120_000

/** Opens the folder and exits at once, as a short run does. */
const short = (base: string) =>
  run(process.execPath, [
    '--input-type=module',
    '--eval',
    `import { openCompiled } from ${JSON.stringify(here('src/jail/compiled.ts'))}
    openCompiled(${JSON.stringify(base)})
    process.reallyExit(0)`,
  ])

async function until<T>(look: () => T | undefined): Promise<T> {
  const end = Date.now() + waitMsMax
  for (;;) {
    const found = look()
    if (found !== undefined) return found
    assert.ok(Date.now() < end, 'no result in time')
    await wait(20)
  }
}

function newBase(name: string): string {
  const base = join(top, name)
  mkdirSync(base)
  return base
}

/** Returns the only folder of a root. */
function homeOf(base: string): string {
  const [home, ...more] = readdirSync(base)
  assert.deepEqual(more, [])
  return join(base, home!)
}

const unfinishedIn = (home: string) =>
  readdirSync(home).filter((name) => name.startsWith('making-'))
const generationsIn = (home: string) =>
  readdirSync(home).filter((name) => /^[0-9a-f]{16}$/.test(name))

/** Resolves when the background process has ended too. */
async function made(home: string): Promise<string> {
  const name = await until(() =>
    generationsIn(home).find((one) => existsSync(join(home, one, 'compiled'))),
  )
  await until(() => (unfinishedIn(home).length === 0 ? true : undefined))
  return name
}

function plant(folder: string, name: string, ageS: number): void {
  const place = join(folder, name)
  mkdirSync(join(place, 'compiled'), { recursive: true })
  const then = Date.now() / 1000 - ageS
  utimesSync(place, then, then)
}

const prepare = (home: string, name: string) =>
  run(process.execPath, [here('src/jail/prepare.js'), here('.'), home, name, here('.')], {
    env: {},
  })

suite('Prepared code of walls', () => {
  const kept = newBase('kept')
  let first: Promise<string> | undefined
  /** The folder that a run started and its background process finished. */
  const finished = () =>
    (first ??= short(kept).then(async () => {
      const home = homeOf(kept)
      await made(home)
      return home
    }))

  test('many short runs in a row leave one generation and no orphan', async () => {
    const many = newBase('many')
    for (let runs = 0; runs < 8; runs++) await short(many)
    const home = homeOf(many)
    await made(home)
    assert.equal(generationsIn(home).length, 1)
    assert.deepEqual(
      readdirSync(home).sort(),
      [...generationsIn(home), 'lock', 'root'].sort(),
      'nothing else',
    )
    assert.equal(readlinkSync(join(home, 'root')), here('.'))
  })

  test('the next run uses the folder that an ended run had started', async () => {
    const home = await finished()
    const { folder, joined } = openCompiled(kept)
    const ready = folder(12_345)
    assert.equal(ready, join(home, generationsIn(home)[0]!, 'compiled'))
    assert.ok(readdirSync(ready).some((name) => name.endsWith('-12345')))
    assert.ok(existsSync(join(joined!, 'guest/isolate-worker.js')))
  })

  test('a maker ended by kill -9 leaves nothing after the next start', async () => {
    const base = newBase('killed')
    await short(base)
    const own = await until(() => readdirSync(base)[0])
    const killed = join(base, own)
    const name = await until(() => unfinishedIn(killed)[0])
    process.kill(Number(name.slice('making-'.length)), 'SIGKILL')
    await short(base)
    await made(killed)
    assert.equal(existsSync(join(killed, name)), false)
    assert.equal(generationsIn(killed).length, 1)
  })

  test('an orphan beside a finished generation is swept by the next start', async () => {
    const home = await finished()
    mkdirSync(join(home, 'making-999999999/half'), { recursive: true })
    await short(kept)
    await until(() => (unfinishedIn(home).length === 0 ? true : undefined))
    assert.equal(generationsIn(home).length, 1)
  })

  test('two concurrent makers build it once', async () => {
    const own = join(newBase('raced'), 'a'.repeat(16))
    mkdirSync(own)
    await Promise.all([prepare(own, 'b'.repeat(16)), prepare(own, 'b'.repeat(16))])
    assert.deepEqual(generationsIn(own), ['b'.repeat(16)])
    assert.deepEqual(unfinishedIn(own), [])
    assert.deepEqual(readdirSync(join(own, 'b'.repeat(16))), ['compiled'])
  })

  test('three generations are kept for each root, and none of a root that no longer exists', async () => {
    const base = newBase('rooms')
    const [own, other, gone] = ['a', 'b', 'c'].map((letter) => join(base, letter.repeat(16)))
    for (const folder of [own!, other!])
      for (const [at, letter] of ['1', '2', '3', '4'].entries())
        plant(folder, letter.repeat(16), 100 * (at + 1))
    plant(gone!, '1'.repeat(16), 10)
    symlinkSync(join(top, 'no-such-root'), join(gone!, 'root'))
    mkdirSync(join(own!, 'notes'))
    await prepare(own!, 'f'.repeat(16))
    assert.deepEqual(
      generationsIn(own!).sort(),
      ['1', '2', 'f'].map((letter) => letter.repeat(16)),
    )
    assert.equal(generationsIn(other!).length, 4, 'another root sweeps its own')
    assert.deepEqual(readdirSync(base).sort(), [basename(own!), basename(other!)])
    assert.ok(existsSync(join(own!, 'notes')), 'only generations are removed')
  })

  test('a folder that others may write to is not used', async () => {
    const home = await finished()
    chmodSync(home, 0o777)
    try {
      const { folder, joined } = openCompiled(kept)
      assert.equal(folder(1), undefined)
      assert.equal(joined, undefined)
    } finally {
      chmodSync(home, 0o755)
    }
  })
})
