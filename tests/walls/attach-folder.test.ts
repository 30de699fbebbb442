import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { allControls } from '../../src/contract/controls.ts'
import type { Outcome } from '../../src/contract/outcome.ts'
import { jailKinds } from '../../src/contract/jail-kind.ts'
import { foldersFor } from '../../src/assemble/egress.ts'
import { jobFiles } from '../../src/cli/job-files.ts'
import { openLocalDoor, type LocalDoor } from '../../src/gateway/local/door.ts'
import {
  isShownToGuests,
  localFolder,
  readRecord,
  recordFile,
} from '../../src/gateway/local/place.ts'
import { temporaryCache } from '../../src/lib/cache-folder.ts'
import { findProgram } from '../../src/os/find-program.ts'
import { isRunscThere, makeGvisor, noRunsc } from '../conformance/gvisor.ts'
import { inNode, inPython } from '../conformance/guests-of-programs.ts'
import { makeIsolates } from '../conformance/isolated-vm.ts'
import { makeProcesses } from '../conformance/process.ts'
import { inJs, messageIn, Stand, type GuestLanguage, type Made } from '../conformance/stand.ts'
import { makeWasi } from '../conformance/wasi.ts'
import { inWasm } from '../conformance/guests-in-wasm.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { attack, counted, textAt, told } from '../hostile/wasi/calls.ts'

/**
 * Guests of each kind of wall try to read the secret by which a run and its server know each other, and to connect to the
 * socket beside it. The same program outside of a wall succeeds in all of it: the folder's mode alone keeps no guest out
 * that runs under the user's own uid.
 */
const skip = process.platform !== 'linux' && 'servers are left behind on Linux alone'
const isRoot = process.getuid?.() === 0
const name = 'b'.repeat(32)
let state: string
let door: LocalDoor | undefined

before(async () => {
  state = mkdtempSync(join(tmpdir(), 'mayfly-attach-walls-'))
  if (skip) return
  door = await openLocalDoor({
    folder: localFolder(state),
    name,
    kind: 'left',
    state,
    run: async () => ({}) as Outcome,
    isItself: () => true,
    idleMs: null,
    onIdle: () => undefined,
    onStop: () => undefined,
  })
})
after(async () => {
  await door?.close()
  rmSync(state, { recursive: true, force: true })
})

/** Input of the attack: the folder, its files, and processes through whose /proc it could be reached. */
function bait() {
  const folder = localFolder(state)
  const { socket } = readRecord(folder, name)!
  const places = [folder, `/proc/self/root${folder}`, `/proc/1/root${folder}`]
  return {
    files: [...places, `/proc/${process.pid}/root${folder}`].map((one) => recordFile(one, name)),
    sockets: [...places, `/proc/${process.pid}/root${folder}`].map((one) => join(one, socket)),
    folders: [folder, state, dirname(state)],
    prefix: 'mayfly-attach-walls-',
  }
}

const python = `import os, socket
def main(input):
    got = []
    def attempt(what, act):
        try:
            if act(): got.append(what)
        except Exception: pass
    def connect(path):
        with socket.socket(socket.AF_UNIX) as one: one.connect(path)
        return True
    for path in input["files"]: attempt("read " + path, lambda: open(path).read())
    for path in input["sockets"]: attempt("connect " + path, lambda: connect(path))
    for path in input["folders"]:
        attempt("list " + path, lambda: [n for n in os.listdir(path) if input["prefix"] in n or n.endswith(".sock") or n == "attach"])
    return got`

const node = `import fs from 'node:fs'
import net from 'node:net'
export default async (input) => {
  const got = []
  for (const path of input.files) try { fs.readFileSync(path); got.push('read ' + path) } catch {}
  for (const path of input.sockets)
    await new Promise((resolve) => {
      try {
        const one = net.connect(path, () => { got.push('connect ' + path); one.destroy(); resolve() })
        one.on('error', resolve)
      } catch { resolve() }
    })
  return got
}`

/** Attack in a realm, which has no files: it tries every remaining global. */
const realm = `const got = []
const tries = {
  import: async () => (await import('node:fs')).readFileSync(input.files[0]),
  net: async () => {
    const net = await import('node:net')
    return new Promise((resolve, reject) => {
      const one = net.connect(input.sockets[0], () => { one.destroy(); resolve(true) }).on('error', reject)
    })
  },
  require: () => require('node:fs'), process: () => process.binding('fs'),
  constructor: () => (() => {}).constructor('return process')().binding('fs'),
  call: () => call('ccos.io.read-file', [input.files[0]]),
  fetch: () => fetch('http://unix:' + input.sockets[0]), file: () => fetch('file://' + input.files[0]),
}
for (const [name, act] of Object.entries(tries)) try { if (await act()) got.push(name) } catch {}
return got`

function assertGot(got: readonly string[]): void {
  const { files, sockets } = bait()
  assert.ok(got.includes(`read ${files[0]}`) && got.includes(`connect ${sockets[0]}`), got.join())
}

async function nothingFrom(
  made: Made,
  make: () => Promise<Made>,
  language: GuestLanguage,
  source: string,
) {
  try {
    const proved = await made.provider.detect()
    assert.ok(proved.available, JSON.stringify(proved))
    const { end } = await new Stand(made.provider, make, language).run(source, { input: bait() })
    assert.deepEqual([end.status, JSON.parse(end.resultText ?? 'null')], ['ok', []], messageIn(end))
  } finally {
    await made.provider.close?.()
    await made.close()
  }
}

suite('Attack: the secret and the socket of the background server', { skip }, () => {
  test('The same program outside of a wall reads the secret and connects to the socket', (t) => {
    if (!findProgram('python3')) return t.skip('python3 is missing')
    const code = `${python}\nimport sys, json\nprint(json.dumps(main(json.load(sys.stdin))))`
    const { stdout } = spawnSync('python3', ['-c', code], { input: JSON.stringify(bait()) })
    assertGot(JSON.parse(String(stdout)))
  })

  test('The same program in Node outside of a wall reads the secret and connects to the socket', () => {
    const code = `${node.replace('export default', 'const main =')}\nconsole.log(JSON.stringify(await main(${JSON.stringify(bait())})))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', code])
    assertGot(JSON.parse(String(stdout)))
  })

  test('The attack of a realm outside of a wall reads the secret and connects to the socket', () => {
    // Without `fetch`, which would leave this machine.
    const code = `const main = async (input, fetch) => {${realm}}
      main(${JSON.stringify(bait())}).then((got) => console.log(JSON.stringify(got)))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=commonjs', '--eval', code])
    assert.deepEqual(JSON.parse(String(stdout)), [
      'import',
      'net',
      'require',
      'process',
      'constructor',
    ])
  })

  for (const jail of jailKinds)
    for (const [language, source] of [
      [inPython, python],
      [inNode, node],
      [inJs, realm],
    ] as const)
      test(`A program in ${language.language} behind ${jail} gets nothing`, async (t) => {
        if (jail === 'bubblewrap' && !findProgram('bwrap')) return t.skip('bwrap is missing')
        const make = () => makeProcesses(jail, {}, language.language)
        await nothingFrom(await make(), make, language, source)
      })

  for (const without of [[], ['namespaces'], ['landlock'], ['own uid']] as const) {
    const layers = without[0] ? `without the layer "${without[0]}"` : 'with every layer'
    test(`An isolate gets nothing, ${layers}`, async () => {
      const make = () => makeIsolates({ without })
      const made = await make()
      await nothingFrom(made, make, inJs, realm)
    })
  }

  test('A WebAssembly module gets nothing', async () => {
    const texts = bait().files.flatMap((file) => [file, file.slice(1), `../../..${file}`])
    const module = attack(
      ['path_open'],
      (invoke) => [
        ...[0, 1, 2, 3, 4, 5].flatMap((fd) =>
          texts.flatMap((text, index) => {
            const at = textAt + texts.slice(0, index).join('').length
            return counted(invoke('path_open', fd, 1, at, text.length, 0, 2n, 2n, 0, 64))
          }),
        ),
        ...told,
      ],
      { text: texts.join('') },
    )
    const made = await makeWasi()
    try {
      const stand = new Stand(made.provider, makeWasi, inWasm)
      const { end } = await stand.run(module.toString('base64'), { entry: 'function', input: [] })
      assert.deepEqual([end.status, end.resultText], ['ok', '0'], messageIn(end))
    } finally {
      await made.provider.close?.()
      await made.close()
    }
  })

  test('A program behind gVisor gets nothing', async (t) => {
    if (!isRunscThere()) return t.skip(noRunsc)
    const make = () => makeGvisor({}, 'python')
    await nothingFrom(await make(), make, inPython, python)
  })

  test('No granted folder gives access to it: not the folder itself, the state folder or a parent', async () => {
    const folder = localFolder(state)
    for (const granted of [folder, state, dirname(state)]) {
      const controls = { ...allControls, files: { read: [granted], write: [granted] } }
      const callsOf = (own: string) =>
        foldersFor({ emit: () => undefined }, own)({ controls, run: 'exec_1', writtenMax: 2 ** 20 })
      const calls = await callsOf(state)
      const path = recordFile(folder, name)
      for (const request of [
        { verb: 'read', path },
        { verb: 'write', path, content: 'x' },
        { verb: 'list', path: folder },
        { verb: 'write', path: join(folder, 'new'), content: 'x' },
      ])
        await assert.rejects(calls.answer(JSON.stringify(request)), { code: 'FORBIDDEN' })
      const others = await callsOf(join(state, 'another'))
      const shown = await others.answer(JSON.stringify({ verb: 'list', path: folder }))
      assert.ok(shown.includes(basename(path)), 'the grant is in force for another server')
      if (granted !== dirname(state)) continue
      const beside = JSON.stringify({ verb: 'list', path: granted })
      assert.ok((await calls.answer(beside)).includes(basename(state)), 'the grant is in force')
    }
  })

  test('No granted folder gives access to a cache folder, or writes to the sources of Mayfly', async () => {
    const caches = mkdtempSync(join(tmpdir(), 'mayfly-attach-caches-'))
    const { XDG_CACHE_HOME, TMPDIR } = process.env
    Object.assign(process.env, { XDG_CACHE_HOME: caches, TMPDIR: caches })
    try {
      const own = isRoot ? '/var/cache/mayfly' : join(caches, 'mayfly')
      const compiled = join(caches, 'mayfly/compiled')
      const temporary = temporaryCache()
      for (const folder of [join(own, 'prepared'), compiled, temporary])
        mkdirSync(folder, { recursive: true })
      const source = join(import.meta.dirname, '../../src')
      const files = { read: ['/'], write: ['/'] }
      const calls = await foldersFor(
        { emit: () => undefined },
        state,
      )({ controls: { ...allControls, files }, run: 'exec_1', writtenMax: 2 ** 20 })
      const ask = async (request: object) => await calls.answer(JSON.stringify(request))
      for (const request of [
        { verb: 'list', path: own },
        { verb: 'list', path: join(own, 'prepared') },
        { verb: 'write', path: join(own, 'prepared', name), content: 'x' },
        { verb: 'write', path: join(compiled, name), content: 'x' },
        { verb: 'write', path: join(temporary, name), content: 'x' },
        { verb: 'write', path: join(source, name), content: 'x' },
      ])
        await assert.rejects(ask(request), { code: 'FORBIDDEN' }, JSON.stringify(request))
      assert.match(await ask({ verb: 'list', path: source }), /"index.ts"/)
      const path = join(caches, 'other')
      assert.equal(await ask({ verb: 'write', path, content: 'x' }), '1')
      assert.equal(readFileSync(path, 'utf8'), 'x')
    } finally {
      for (const [variable, value] of Object.entries({ XDG_CACHE_HOME, TMPDIR }))
        if (value === undefined) delete process.env[variable]
        else process.env[variable] = value
      rmSync(caches, { recursive: true })
      for (const place of [
        join('/var/cache/mayfly/prepared', name),
        join(import.meta.dirname, '../../src', name),
      ])
        rmSync(place, { force: true })
    }
  })

  test('A folder copied with a run omits the secret', async () => {
    const notes: string[] = []
    const brought = await jobFiles(state, { note: (text) => void notes.push(text) })
    assert.deepEqual(
      brought.filter(({ type }) => type !== 'folder'),
      [],
    )
    assert.match(notes.join('\n'), /where secrets may be/)
  })

  test('No socket is opened in a folder that walls show', async () => {
    for (const one of [
      '/usr/local/state',
      '/etc/mayfly',
      join(import.meta.dirname, '../../guest/s'),
    ])
      assert.ok(isShownToGuests(one), one)
    assert.ok(!isShownToGuests(localFolder(state)))
    assert.ok(!isShownToGuests('/var/lib/mayfly/attach'))
  })
})
