import assert from 'node:assert/strict'
import fs, {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { execFileSync } from 'node:child_process'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test, type TestContext } from 'node:test'
import { findPackages } from './find.ts'
import { codeOfLayers } from './layer-code.ts'
import { Layers } from './layers.ts'
import { copyTree } from './copy-tree.ts'
import { survey } from './survey.ts'

const base = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-layers-')))
after(() => rmSync(base, { recursive: true, force: true }))
let count = 0
const fresh = () => join(base, `${count++}`)

/** A project with these files; a target that begins with `->` makes a symlink. */
function project(files: Readonly<Record<string, string>>): string {
  const root = fresh()
  for (const [place, content] of Object.entries(files)) {
    const file = join(root, place)
    mkdirSync(dirname(file), { recursive: true })
    if (content.startsWith('->')) symlinkSync(content.slice(2), file)
    else writeFileSync(file, content)
  }
  return root
}

const simple = { 'node_modules/a/index.js': '1', 'node_modules/.bin/a': '->../a/index.js' }
const leftIn = (folder: string) => readdirSync(folder).filter((name) => name.startsWith('.'))

test('a layer has the files, links and executable bits of its source, and no set-uid bit', async () => {
  const root = project({
    ...simple,
    'node_modules/a/run.sh': '#!/bin/sh',
    'package-lock.json': '1',
  })
  chmodSync(join(root, 'node_modules/a/run.sh'), 0o6755)
  mkdirSync(join(root, 'node_modules/empty'))
  const folder = fresh()
  using held = await new Layers({ folder }).take('t', findPackages(root))
  const at = (place: string) => join(folder, held.layer.layer, 'node_modules', place)
  assert.equal(readFileSync(at('a/index.js'), 'utf8'), '1')
  assert.equal(readlinkSync(at('.bin/a')), '../a/index.js')
  assert.equal(statSync(at('a/run.sh')).mode & 0o7777, 0o755)
  assert.equal(statSync(at('a/index.js')).mode & 0o7777, 0o644)
  assert.ok(statSync(at('empty')).isDirectory())
  assert.deepEqual([held.layer.files, held.omitted], [2, []])
  assert.deepEqual(leftIn(folder), [])
})

test('links out of the folder, FIFOs and names that are no UTF-8 are omitted and reported', async () => {
  const root = project({
    ...simple,
    'node_modules/out': '->/etc/passwd',
    'node_modules/up': '->../../secret',
    'node_modules/a/new\nline.js': '2',
  })
  symlinkSync(join(root, 'node_modules/a'), join(root, 'node_modules/absolute'))
  execFileSync('mkfifo', [join(root, 'node_modules/pipe')])
  writeFileSync(Buffer.concat([Buffer.from(join(root, 'node_modules/')), Buffer.from([0xff])]), '')
  const folder = fresh()
  using held = await new Layers({ folder }).take('t', findPackages(root))
  const left = held.omitted.map(({ path }) => path).toSorted()
  assert.deepEqual(left, ['out', 'pipe', 'up', '\ufffd'])
  const modules = join(folder, held.layer.layer, 'node_modules')
  assert.deepEqual(readdirSync(modules).toSorted(), ['.bin', 'a', 'absolute'])
  assert.equal(readlinkSync(join(modules, 'absolute')), 'a')
  assert.equal(readFileSync(join(modules, 'a/new\nline.js'), 'utf8'), '2')
})

test('the symlinked store of pnpm stays as it is', async () => {
  const root = project({
    'node_modules/.pnpm/z@1/node_modules/z/index.js': '1',
    'node_modules/.pnpm/z@1/node_modules/y': '->../../y@1/node_modules/y',
    'node_modules/.pnpm/y@1/node_modules/y/index.js': '2',
    'node_modules/z': '->.pnpm/z@1/node_modules/z',
  })
  const folder = fresh()
  using held = await new Layers({ folder }).take('t', findPackages(root))
  const z = join(folder, held.layer.layer, 'node_modules/z')
  assert.match(realpathSync(z), /\.pnpm\/z@1\/node_modules\/z$/)
  assert.deepEqual(held.omitted, [])
})

test('Attack: links to folders around them multiply no code that the analysis of a layer reads', async () => {
  const root = project({
    ...simple,
    'node_modules/a/around': '->.',
    'node_modules/a/again': '->.',
    'node_modules/b': '->a',
  })
  const folder = fresh()
  using held = await new Layers({ folder }).take('t', findPackages(root))
  assert.deepEqual(codeOfLayers(() => folder).read(held.layer.layer), [
    { path: 'node_modules/a/index.js', content: '1' },
  ])
})

test('packages are one layer for a tenant, another for each other tenant, and another for a copy with equal sizes and times', async () => {
  const one = project({ ...simple, 'package-lock.json': 'lock' })
  const other = project({ ...simple, 'package-lock.json': 'lock' })
  const at = new Date(1e12)
  for (const root of [one, other]) utimesSync(join(root, 'node_modules/a/index.js'), at, at)
  const layers = new Layers({ folder: fresh() })
  using first = await layers.take('t', findPackages(one))
  using copied = await layers.take('t', findPackages(other))
  assert.notEqual(first.layer.layer, copied.layer.layer)
  using second = await layers.take('t', findPackages(one))
  using third = await layers.take('u', findPackages(one))
  assert.equal(first.layer.layer, second.layer.layer)
  assert.notEqual(first.layer.layer, third.layer.layer)
  assert.deepEqual([first.isReused, second.isReused, third.isReused], [false, true, false])
  writeFileSync(join(one, 'package-lock.json'), 'another')
  using fourth = await layers.take('t', findPackages(one))
  assert.notEqual(first.layer.layer, fourth.layer.layer)
})

test('packages that change without a lock file are another layer', async () => {
  const root = project(simple)
  const layers = new Layers({ folder: fresh() })
  using first = await layers.take('t', findPackages(root))
  using same = await layers.take('t', findPackages(root))
  writeFileSync(join(root, 'node_modules/a/index.js'), '2')
  using second = await layers.take('t', findPackages(root))
  assert.equal(first.layer.layer, same.layer.layer)
  assert.notEqual(first.layer.layer, second.layer.layer)
})

test('two concurrent makers leave one layer, and a killed maker leaves none', async () => {
  const root = project(simple)
  const folder = fresh()
  mkdirSync(join(folder, '.making.4194303-1-00000000-dead.aa'), { recursive: true })
  const both = await Promise.all(
    [new Layers({ folder }), new Layers({ folder })].map((one) =>
      one.take('t', findPackages(root)),
    ),
  )
  assert.equal(both[0]!.layer.layer, both[1]!.layer.layer)
  assert.deepEqual(leftIn(folder), [])
  for (const held of both) held[Symbol.dispose]()
  assert.equal(readdirSync(folder).filter((name) => name.includes('.use.')).length, 0)
})

test('a source that changes while it is copied is refused, and no file outside it is read', async () => {
  const secret = fresh()
  writeFileSync(secret, 'secret')
  const changes: Record<string, (root: string) => void> = {
    'a file that grows': (root) => writeFileSync(join(root, 'a/index.js'), '12345'),
    'a file that becomes a link': (root) => {
      rmSync(join(root, 'a/index.js'))
      symlinkSync(secret, join(root, 'a/index.js'))
    },
    'a folder that becomes a link': (root) => {
      const away = fresh()
      mkdirSync(away)
      writeFileSync(join(away, 'index.js'), '1')
      rmSync(join(root, 'a'), { recursive: true })
      symlinkSync(away, join(root, 'a'))
    },
    'a file that becomes a pipe': (root) => {
      rmSync(join(root, 'a/index.js'))
      execFileSync('mkfifo', [join(root, 'a/index.js')])
    },
    'a file that goes': (root) => rmSync(join(root, 'a/index.js')),
  }
  for (const [what, change] of Object.entries(changes)) {
    const root = join(project(simple), 'node_modules')
    const found = await survey(root)
    change(root)
    const to = fresh()
    mkdirSync(to)
    await assert.rejects(copyTree(root, to, found), /changed while it was copied/, what)
    if (existsSync(join(to, 'a/index.js')))
      assert.notEqual(readFileSync(join(to, 'a/index.js'), 'utf8'), 'secret', what)
  }
})

test('the least recently used layer is evicted first, one in use never', async () => {
  const folder = fresh()
  const layers = new Layers({ folder, layersMax: 2 })
  const [a, b, c] = ['a', 'b', 'c'].map((name) =>
    findPackages(project({ [`node_modules/${name}/index.js`]: name })),
  )
  using used = await layers.take('t', a!)
  const old = await layers.take('t', b!)
  old[Symbol.dispose]()
  using third = await layers.take('t', c!)
  const there = (held: typeof used) => existsSync(join(folder, held.layer.layer))
  assert.deepEqual([there(used), there(old), there(third)], [true, false, true])
  await assert.rejects(layers.take('t', b!), { code: 'STATE', message: /in use/ })
  assert.deepEqual(leftIn(folder), [])
})

for (const [when, call] of [
  ['before its eviction looks whether it is used', 'renameSync'],
  ['after its eviction found it unused', 'rmSync'],
] as const)
  test(`a layer that another process makes again ${when} stays, and the eviction goes on`, async (t) => {
    const { folder, layers, a, c, name, marker } = await oneToEvict()
    cpSync(join(folder, name), join(folder, 'copy'), { recursive: true })
    cpSync(join(folder, `${name}.json`), join(folder, 'copy.json'))
    let made = 0
    const original = fs[call] as (...paths: readonly string[]) => void
    const played = (...paths: readonly string[]) => {
      const isNow = call === 'rmSync' ? paths[0]!.includes(name) : paths[0] === join(folder, name)
      if (call === 'renameSync') original(...paths)
      if (isNow && made++ === 0) {
        fs.writeFileSync(join(folder, marker), '')
        cpSync(join(folder, 'copy'), join(folder, name), { recursive: true })
        cpSync(join(folder, 'copy.json'), join(folder, `${name}.json`))
      }
      if (call === 'rmSync') original(...paths)
    }
    await evicting(t, layers, c, { call, played: played as never })
    assert.ok(made > 0)
    assert.ok(existsSync(join(folder, name, 'node_modules/a/index.js')))
    using again = await layers.take('t', a)
    assert.deepEqual([again.layer.layer, again.isReused], [name, true])
    assert.deepEqual(leftIn(folder), [])
  })

test('a layer that is used again while it is evicted and whose moved description another process sweeps is made again', async (t) => {
  const { folder, layers, a, c, name, marker } = await oneToEvict()
  const original = fs.renameSync
  let swept = 0
  const played = (from: string, to: string) => {
    original(from, to)
    if (from !== join(folder, name)) return
    writeFileSync(join(folder, marker), '')
    for (const entry of leftIn(folder).filter((one) => one.endsWith('.json'))) {
      rmSync(join(folder, entry))
      swept++
    }
  }
  await evicting(t, layers, c, { call: 'renameSync', played: played as never })
  assert.equal(swept, 1)
  using again = await layers.take('t', a)
  assert.deepEqual([again.layer.layer, again.isReused], [name, false])
  assert.ok(existsSync(join(folder, name, 'node_modules/a/index.js')))
  assert.ok(existsSync(join(folder, `${name}.json`)))
  assert.deepEqual(leftIn(folder), [])
})

/** Two unused layers, of which that of `a` goes once `c` is taken; `marker` is the file of its use. */
async function oneToEvict() {
  const folder = fresh()
  const layers = new Layers({ folder, layersMax: 2 })
  const found = (name: string) => findPackages(project({ [`node_modules/${name}/index.js`]: name }))
  const [a, b, c] = [found('a'), found('b'), found('c')]
  const old = await layers.take('t', a)
  const { layer: name } = old.layer
  const marker = readdirSync(folder).find((entry) => entry.startsWith(`${name}.use.`))!
  old[Symbol.dispose]()
  ;(await layers.take('t', b))[Symbol.dispose]()
  const at = new Date(1e12)
  utimesSync(join(folder, `${name}.json`), at, at)
  return { folder, layers, a, c, name, marker }
}

/** Takes `next`, with `played` in place of a call of the file system. */
async function evicting(
  t: TestContext,
  layers: Layers,
  next: ReturnType<typeof findPackages>,
  { call, played }: { readonly call: 'renameSync' | 'rmSync'; readonly played: never },
): Promise<void> {
  t.mock.method(fs, call, played)
  syncBuiltinESMExports()
  try {
    using _next = await layers.take('t', next)
  } finally {
    t.mock.restoreAll()
    syncBuiltinESMExports()
  }
}

test('a folder without packages is refused with a list of what is accepted', () => {
  const root = project({ 'a.txt': '1' })
  assert.throws(() => findPackages(root), { code: 'USAGE', hint: /virtual environment/ })
  assert.throws(() => findPackages(join(root, 'a.txt')), { code: 'USAGE' })
})

test('a virtual environment is its site-packages, and wheels are a folder of them', () => {
  const root = project({
    '.venv/pyvenv.cfg': 'version = 3.11.2',
    '.venv/lib/python3.11/site-packages/a.py': '1',
    'wheels/a-1-py3-none-any.whl': '1',
  })
  const environment = findPackages(root)
  assert.deepEqual([environment.kind, environment.python], ['python', '3.11'])
  assert.equal(findPackages(join(root, 'wheels')).kind, 'wheels')
})
