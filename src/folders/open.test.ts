import assert from 'node:assert/strict'
import {
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { setImmediate as tick } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { allControls, noFiles, type FilesControl } from '../contract/controls.ts'
import { openFolders } from './open.ts'

const skip = !existsSync('/proc/self/fd') && 'no descriptors by path here'
const place = mkdtempSync(join(tmpdir(), 'mayfly-folders-'))
const granted = join(place, 'granted')
const own = join(granted, 'own')
mkdirSync(join(granted, 'inner'), { recursive: true })
mkdirSync(join(place, 'granted-not'))
mkdirSync(join(own, 'deep'), { recursive: true })
writeFileSync(join(own, 'key'), 'secret')
writeFileSync(join(place, 'secret'), 'secret')
writeFileSync(join(place, 'twin'), 'secret')
writeFileSync(join(place, 'granted-not', 'secret'), 'secret')
writeFileSync(join(granted, 'a.txt'), 'ä')
writeFileSync(join(granted, 'inner', 'b.bin'), Buffer.from([0, 255]))
writeFileSync(join(place, 'linked'), 'secret')
symlinkSync(join(place, 'linked'), join(granted, 'link'))
symlinkSync(place, join(granted, 'up'))
linkSync(join(place, 'twin'), join(granted, 'hard'))
after(() => rmSync(place, { recursive: true }))

const denied: unknown[] = []

function folders(files: FilesControl, writtenMax = 2 ** 20, closed = [own]) {
  const emitter = { emit: (point: string) => void denied.push(point) }
  const asked = {
    controls: { ...allControls, files },
    run: 'exec_1',
    writtenMax,
    emitter,
    closed,
  }
  const calls = openFolders(asked)
  const ask = async (request: object) =>
    JSON.parse(await calls.answer(JSON.stringify(request))) as unknown
  return { ...calls, ask }
}

/** Puts a link in the place of a folder and back, again and again. */
const swaps = `
const { parentPort, workerData } = require('node:worker_threads')
const { renameSync } = require('node:fs')
const { inner, link, stop } = workerData
parentPort.postMessage('swapping')
while (Atomics.load(stop, 0) === 0) {
  renameSync(inner, inner + '-away')
  renameSync(link, inner)
  renameSync(inner, link)
  renameSync(inner + '-away', inner)
}`

const readOnly: FilesControl = { read: [granted], write: [] }
const both: FilesControl = { read: [granted], write: [granted] }

suite('Granted folders', { skip }, () => {
  test('Files below a folder are read, listed and written, and a write leaves no other file', async () => {
    const { ask } = folders(both)
    assert.equal(await ask({ verb: 'read', path: join(granted, 'a.txt') }), 'ä')
    const bytes = { verb: 'read', path: join(granted, 'inner/b.bin'), encoding: 'base64' }
    assert.equal(await ask(bytes), 'AP8=')
    const path = join(granted, 'inner', 'new.txt')
    assert.equal(await ask({ verb: 'write', path, content: 'one' }), 3)
    assert.equal(await ask({ verb: 'write', path, content: 'Zwei' }), 4)
    assert.equal(readFileSync(path, 'utf8'), 'Zwei')
    assert.equal(await ask({ verb: 'write', path, content: 'aGk', encoding: 'base64' }), 2)
    await assert.rejects(ask({ verb: 'write', path, content: '!', encoding: 'base64' }), {
      code: 'INVALID',
      message: /its content is no base64/,
    })
    assert.equal(readFileSync(path, 'utf8'), 'hi')
    assert.deepEqual(readdirSync(join(granted, 'inner')), ['b.bin', 'new.txt'])
    const listed = await ask({ verb: 'list', path: granted })
    assert.deepEqual(listed, [
      { name: 'a.txt', kind: 'file' },
      { name: 'hard', kind: 'file' },
      { name: 'inner', kind: 'folder' },
      { name: 'link', kind: 'other' },
      { name: 'own', kind: 'folder' },
      { name: 'up', kind: 'other' },
    ])
  })

  test('S4-9: no symbolic link, hard link, "..", descriptor or neighbour leads out', async () => {
    const { ask } = folders(both)
    const before = denied.length
    const paths = [
      join(granted, 'link'),
      join(granted, 'up', 'secret'),
      join(granted, 'hard'),
      `${granted}/../secret`,
      `${granted}/inner/../../secret`,
      `${granted}/./a.txt`,
      `${granted}//a.txt`,
      join(place, 'granted-not', 'secret'),
      join(place, 'secret'),
      '/proc/self/root/etc/passwd',
      '/etc/passwd',
      'a.txt',
      '',
      `${granted}/a.txt\0`,
    ]
    for (const path of paths) {
      await assert.rejects(ask({ verb: 'read', path }), { code: 'FORBIDDEN' }, path)
      await assert.rejects(ask({ verb: 'list', path }), { code: 'FORBIDDEN' }, path)
      if (path !== join(granted, 'hard'))
        await assert.rejects(
          ask({ verb: 'write', path, content: 'x' }),
          { code: 'FORBIDDEN' },
          path,
        )
    }
    assert.equal(readFileSync(join(place, 'secret'), 'utf8'), 'secret')
    assert.equal(denied.length - before, 3 * paths.length - 1)
    await assert.rejects(ask({ verb: 'list', path: join(granted, 'up') }), { code: 'FORBIDDEN' })
  })

  test('S4-9: a link that replaces a folder between two calls is not followed (TOCTOU)', async () => {
    const { ask } = folders(readOnly)
    const inner = join(granted, 'inner')
    const outside = join(place, 'outside')
    const path = join(inner, 'b.bin')
    mkdirSync(outside)
    writeFileSync(join(outside, 'b.bin'), 'secret')
    const before = await ask({ verb: 'read', path })
    const link = join(place, 'swapped')
    symlinkSync(outside, link)
    const stop = new Int32Array(new SharedArrayBuffer(4))
    const swapper = new Worker(swaps, { eval: true, workerData: { inner, link, stop } })
    await once(swapper, 'message')
    const read: unknown[] = []
    const refused: unknown[] = []
    for (let tries = 0; tries < 20_000 && (read.length < 100 || refused.length < 100); tries++)
      await ask({ verb: 'read', path }).then(
        (content) => read.push(content),
        // NOT_FOUND: between the folder and the link.
        (error: { code: string }) => error.code === 'NOT_FOUND' || refused.push(error.code),
      )
    Atomics.store(stop, 0, 1)
    await once(swapper, 'exit')
    assert.ok(read.length >= 100 && refused.length >= 100, `${read.length} ${refused.length}`)
    assert.deepEqual(new Set(refused), new Set(['FORBIDDEN']))
    for (const content of [...read, await ask({ verb: 'read', path })])
      assert.deepEqual(content, before)
  })

  test("Mayfly's own folders and /proc, /sys, /dev are in no grant", async () => {
    const alias = join(place, 'alias')
    symlinkSync(granted, alias)
    const all = folders({ read: ['/'], write: ['/'] })
    const some = folders({ read: [granted, alias, '/proc'], write: [granted, alias] })
    const keys = [join(own, 'key'), join(own, 'deep', 'key'), join(alias, 'own', 'key')]
    const told = ['/proc/self/environ', '/proc/1/environ', '/sys/kernel/notes', '/dev/null']
    const insides = [own, join(own, 'deep'), join(alias, 'own'), '/proc', '/dev']
    for (const { ask } of [all, some]) {
      for (const path of [...keys, ...told])
        await assert.rejects(ask({ verb: 'read', path }), { code: 'FORBIDDEN' }, path)
      for (const path of insides)
        await assert.rejects(ask({ verb: 'list', path }), { code: 'FORBIDDEN' }, path)
      for (const path of keys)
        await assert.rejects(ask({ verb: 'write', path, content: 'x' }), { code: 'FORBIDDEN' })
    }
    assert.equal(readFileSync(join(own, 'key'), 'utf8'), 'secret')
    assert.equal(await all.ask({ verb: 'read', path: join(granted, 'a.txt') }), 'ä')
    assert.equal(await some.ask({ verb: 'read', path: join(alias, 'a.txt') }), 'ä')
    rmSync(alias)
  })

  test('A read-only grant refuses writes', async () => {
    const { ask } = folders(readOnly)
    const request = { verb: 'write', path: join(granted, 'no.txt'), content: 'x' }
    await assert.rejects(ask(request), { code: 'FORBIDDEN' })
    assert.equal(existsSync(request.path), false)
  })

  test('A missing file is NOT_FOUND, and a folder or a FIFO is no file', async () => {
    const { ask } = folders(both)
    spawnSync('mkfifo', [join(granted, 'pipe')])
    await assert.rejects(ask({ verb: 'read', path: join(granted, 'no') }), { code: 'NOT_FOUND' })
    for (const name of ['inner', 'pipe', '.'])
      await assert.rejects(ask({ verb: 'read', path: `${granted}/${name}` }), { code: 'FORBIDDEN' })
    await assert.rejects(ask({ verb: 'read', path: granted }), { code: 'FORBIDDEN' })
    rmSync(join(granted, 'pipe'))
  })

  test('A phase that revokes a folder also cuts calls in progress', async () => {
    const opened = folders(both)
    const request = { verb: 'read', path: join(granted, 'a.txt') }
    const under = opened.ask(request)
    opened.tighten({ ...allControls, files: noFiles })
    await assert.rejects(under, { code: 'FORBIDDEN' })
    await assert.rejects(opened.ask(request), { code: 'FORBIDDEN' })
  })

  test('A write in progress when its folder is revoked changes no file, and leaves none', async () => {
    const before = readdirSync(granted).toSorted()
    const ends = new Set<string>()
    // Steps of the write before it is revoked: one more each time, until it is done first.
    for (let steps = 0; !ends.has('done'); steps++)
      for (const name of ['a.txt', 'new.txt']) {
        const opened = folders(both)
        const path = join(granted, name)
        const under = opened.ask({ verb: 'write', path, content: 'late' }).then(
          () => 'done',
          (error: { code: string }) => error.code,
        )
        for (let step = 0; step < steps; step++) await tick()
        opened.tighten({ ...allControls, files: noFiles })
        const textNow = () => (existsSync(path) ? readFileSync(path, 'utf8') : undefined)
        const text = textNow()
        const end = await under
        ends.add(end)
        assert.equal(textNow(), text, 'after it is revoked')
        const was = name === 'a.txt' ? 'ä' : undefined
        assert.equal(text, end === 'done' ? 'late' : was, `${end} at ${steps}`)
        rmSync(path, { force: true })
        if (name === 'a.txt') writeFileSync(path, 'ä')
        assert.deepEqual(readdirSync(granted).toSorted(), before)
      }
    assert.deepEqual([...ends], ['FORBIDDEN', 'done'])
  })

  test("A folder of Mayfly's own that is made while a run lasts, below a link, is in no grant", async () => {
    symlinkSync(granted, join(place, 'home'))
    const late = join(granted, 'late', 'own')
    const opened = folders(both, 2 ** 20, [join(place, 'home', 'late', 'own')])
    mkdirSync(late, { recursive: true })
    writeFileSync(join(late, 'key'), 'secret')
    // A folder like any other for a run to which it was not named.
    const others = folders(both)
    assert.equal(await others.ask({ verb: 'read', path: join(late, 'key') }), 'secret')
    for (const request of [
      { verb: 'read', path: join(late, 'key') },
      { verb: 'list', path: late },
      { verb: 'write', path: join(late, 'key'), content: 'x' },
    ])
      await assert.rejects(opened.ask(request), { code: 'FORBIDDEN' }, request.verb)
    assert.equal(readFileSync(join(late, 'key'), 'utf8'), 'secret')
    rmSync(join(granted, 'late'), { recursive: true })
  })

  test('A run writes no more than its disk limit, and a file no more than a call may', async () => {
    const { ask } = folders(both, 10)
    const path = join(granted, 'small.txt')
    assert.equal(await ask({ verb: 'write', path, content: '12345678' }), 8)
    const more = { verb: 'write', path, content: '123' }
    await assert.rejects(ask(more), { code: 'TOO_LARGE' })
    assert.equal(readFileSync(path, 'utf8'), '12345678')
    // A refused write consumed nothing.
    assert.equal(await ask({ verb: 'write', path, content: '12' }), 2)
    await assert.rejects(ask({ verb: 'write', path, content: '1' }), /more than 0 bytes/)
    writeFileSync(path, Buffer.alloc(3 * 2 ** 20 + 1))
    await assert.rejects(ask({ verb: 'read', path }), { code: 'TOO_LARGE' })
    rmSync(path)
  })

  test('A malformed request is refused', async () => {
    const { answer } = folders(both)
    for (const text of ['', '{}', '{"verb":"remove","path":"/"}', '[]', '{"verb":"read","path":1}'])
      await assert.rejects(answer(text), { code: 'INVALID' }, text)
  })
})
