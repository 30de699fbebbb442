import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { seatbeltCommand, seatbeltProfile } from '../../src/jail/seatbelt.ts'
import { isAlive } from '../../src/os/proc.ts'
import { probeSeatbelt } from '../../src/os/probe-own-wall.js'
import { readProcess } from '../../src/os/ps.ts'
import {
  seatbeltRemains,
  sweepSeatbelt,
} from '../../src/warden/engines/processes/seatbelt/sweep.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { makeSandboxExec } from '../fixtures/sandbox-exec.ts'
import { allowedBy } from '../fixtures/seatbelt-profile.ts'
import { until } from '../conformance/stand.ts'
import { openWhole } from './whole-wall.ts'

/** Walls by Seatbelt: the text of their profiles, and what holds where Linux plays `sandbox-exec` by those profiles. */
const MiB = 2 ** 20
const root = fileURLToPath(new URL('../../', import.meta.url))
const golden = (name: string) => fileURLToPath(new URL(`../golden/${name}.sb`, import.meta.url))

for (const [name, readable, writable, above] of [
  ['seatbelt-worker', 2, 0, 3],
  ['seatbelt-program', 2, 1, 4],
] as const)
  test(`S4-25: the profile "${name}" has the text of its golden`, () => {
    const text = seatbeltProfile(readable, writable, above)
    if (process.env['MAYFLY_GOLDEN'] === 'write') writeFileSync(golden(name), text)
    assert.equal(text, readFileSync(golden(name), 'utf8'))
  })

test('S4-25: a profile denies by default, and allows no socket, child process, Mach service or driver', () => {
  const text = seatbeltProfile(2, 1, 4)
  assert.match(text, /^\(version 1\)\n\(deny default\)\n/)
  assert.match(text, /^[\x20-\x7e\n]*$/)
  for (const operation of [
    'network',
    'fork',
    'process\\*',
    'mach',
    'iokit',
    'ipc',
    'system-socket',
    'default',
    'nvram',
    'system-fcntl',
  ])
    assert.doesNotMatch(text, new RegExp(`\\(allow[^(]*${operation}`), operation)
  for (const operation of ['process-info', 'nvram', 'iokit-get-properties', 'file-map-executable'])
    assert.match(text, new RegExp(`\\(deny [^()]*${operation}`), operation)
  assert.equal(text.match(/\(allow[^(]*process-exec/g)?.length, 1)
  assert.equal(text.match(/\(allow[^(]*signal/g)?.length, 1)
})

suite('S4-25: A command of sandbox-exec', () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'mayfly-seatbelt-')))
  after(() => rmSync(folder, { recursive: true, force: true }))

  const commandFor = (places: readonly string[]) =>
    seatbeltCommand({ program: process.execPath, readable: places, writable: [] }, ['main.js'])

  test('has paths as parameters: no name of a folder is read as a rule', () => {
    const plain = join(folder, 'plain')
    const hostile = join(folder, '")) (allow default) (;\n(x')
    for (const place of [plain, hostile]) mkdirSync(place)
    const [one, other] = [commandFor([plain]), commandFor([hostile])]
    assert.equal(other.args[1], one.args[1])
    assert.ok(other.args.includes(`READ_0=${hostile}`))
  })

  test('has each path as the one that its links lead to, and the folders above it by their metadata alone', () => {
    const [real, link] = [join(folder, 'real'), join(folder, 'link')]
    mkdirSync(real)
    symlinkSync(real, link)
    const { args } = commandFor([link])
    assert.ok(args.includes(`READ_0=${real}`) && !args.some((one) => one.endsWith('/link')))
    const parameters = new Map(
      args.flatMap((word, at) =>
        word === '-D' ? [args[at + 1]!.split('=') as [string, string]] : [],
      ),
    )
    const { program, readable, writable } = allowedBy(args[1]!, parameters)
    assert.equal(program, realpathSync(process.execPath))
    assert.ok(readable.includes(real) && !readable.includes(folder))
    assert.deepEqual(writable, [])
    assert.ok([...parameters.values()].includes(folder))
  })

  test('is not made for a path that does not exist', () => {
    assert.throws(() => commandFor([join(folder, 'none')]), { code: 'ENOENT' })
  })
})

test('S4-25: the sweep ends the process of a dead wall by its start time, and no other with its pid', async () => {
  const children = [1, 2].map(() => spawn('/bin/sleep', ['600'], { stdio: 'ignore' }))
  const ended = children.map((child) => once(child, 'exit'))
  try {
    const sweep = (at: number, text = '', isThisBoot = true) => {
      const { pid } = children[at]!
      const remains = seatbeltRemains(pid!, `${readProcess(pid!)!.started}${text}`)
      sweepSeatbelt([{ id: 'w0', isThisBoot, remains }])
    }
    sweep(0, 'x')
    sweep(0, '', false)
    sweep(1)
    // A kill by the sweep would come before this one.
    children[0]!.kill('SIGTERM')
    assert.deepEqual(await Promise.all(ended), [
      [null, 'SIGTERM'],
      [null, 'SIGKILL'],
    ])
  } finally {
    for (const child of children) child.kill('SIGKILL')
  }
})

const skip = process.platform !== 'linux' && 'sandbox-exec is played by Linux'

suite('S4-25: A wall by a played sandbox-exec', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-seatbelt-'))
  const sandboxExec = makeSandboxExec(folder)
  const canary = join(folder, 'canary')
  let stand: Awaited<ReturnType<typeof openWhole>>
  before(async () => {
    writeFileSync(canary, 'planted')
    stand = await openWhole({ sandboxExec })
  })
  after(async () => {
    await stand?.[Symbol.asyncDispose]()
    rmSync(folder, { recursive: true, force: true })
  })

  const wallOf = async (memory = 128 * MiB) => {
    const wall = await stand.start('node', 'seatbelt')
    await wall.claim({ memory, processes: 4 })
    return wall
  }

  test('refuses its own probe each attempt, which all have another answer outside of it', () => {
    const module = pathToFileURL(join(root, 'src/os/probe-own-wall.js')).href
    const code = `import { probeSeatbelt } from ${JSON.stringify(module)}; console.log(JSON.stringify(probeSeatbelt()))`
    const places = { program: process.execPath, readable: [root], writable: [] }
    const args = ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code]
    const command = seatbeltCommand(places, args, sandboxExec)
    const { stdout, stderr } = spawnSync(command.file, command.args, {
      encoding: 'utf8',
      env: { OPENSSL_CONF: '/dev/null' },
    })
    const inside = JSON.parse(stdout || stderr) as Record<string, string>
    assert.deepEqual(Object.keys(inside), [
      'read',
      'write',
      'connect',
      'child',
      'signal',
      'arguments',
    ])
    for (const [attempt, answer] of Object.entries(inside))
      assert.match(answer, /^(?:EPERM|EACCES)$/, attempt)
    for (const [attempt, answer] of Object.entries(probeSeatbelt()))
      assert.doesNotMatch(answer, /^(?:EPERM|EACCES)$/, attempt)
  })

  test('runs an honest program of several files, with input, result, output and an artifact folder', async () => {
    const wall = await wallOf()
    assert.deepEqual(wall.started.wall.layers, ['seatbelt', 'memory watch'])
    assert.match(wall.started.wall.missing.join('\n'), /^untested: Seatbelt was never run on macOS/)
    wall.run(`
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync, mkdirSync } from 'node:fs'
import { gzipSync, gunzipSync } from 'node:zlib'
mkdirSync('a/b', { recursive: true })
writeFileSync('a/b/c.txt', gzipSync('kept'))
console.log(gunzipSync(readFileSync('a/b/c.txt')).toString(), createHash('sha256').update('x').digest('hex').slice(0, 8))
await new Promise((done) => setTimeout(done, 20))
console.error('done')`)
    const end = await wall.end()
    assert.deepEqual(
      [end.how, wall.said.stdout, wall.said.stderr],
      ['exit', 'kept 2d711642\n', 'done\n'],
    )
  })

  test('lets no program read, write, connect, start a process or signal outside', async () => {
    await using other = await heldWall(stand)
    const leases = leaseFolder(stand.stateFolder)
    for (const target of [other.folder, leases]) assert.ok(existsSync(target), target)
    const server = createServer((socket) => socket.end('reached')).listen(0, '127.0.0.1')
    await once(server, 'listening')
    try {
      const { port } = server.address() as AddressInfo
      const wall = await wallOf()
      wall.run(
        attacks({
          canary,
          port,
          folder,
          leases,
          other: other.folder,
          pid: other.pid,
        }),
      )
      const end = await wall.end()
      assert.equal(end.how, 'exit', wall.said.stderr)
      const answers = JSON.parse(wall.said.stdout) as Record<string, string>
      assert.equal(Object.keys(answers).length, 19)
      for (const [attack, answer] of Object.entries(answers))
        assert.match(answer, /^(?:EPERM|EACCES|ENOENT|EROFS|EXDEV)/, attack)
      assert.ok(isAlive(other.pid))
      assert.deepEqual(readdirSync(folder).sort(), ['canary', 'sandbox-exec'])
      assert.equal(readFileSync(canary, 'utf8'), 'planted')
    } finally {
      server.close()
    }
  })

  test('ends a program above its memory as "memory", and one that fills its folder as "disk"', async () => {
    const [large, full] = [await wallOf(64 * MiB), await wallOf()]
    large.run(`
const all = []
for (;;) { all.push(Buffer.alloc(2 ** 22, 1)); await new Promise((done) => setTimeout(done, 5)) }`)
    full.run(`
import { appendFileSync } from 'node:fs'
const some = Buffer.alloc(2 ** 20, 1)
for (;;) { appendFileSync('full', some); await new Promise((done) => setTimeout(done, 20)) }`)
    assert.equal((await large.end()).how, 'memory')
    assert.equal((await full.end()).how, 'disk')
  })

  test('is frozen and thawed, and leaves no process, folder or lease after its kill', async () => {
    const wall = await wallOf()
    wall.run(`
let count = 0
setInterval(() => console.log(++count), 5)`)
    await until(() => wall.said.stdout.includes('3\n'), 'some output')
    await stand.warden.freeze(wall.id)
    const { pid } = wall.started.wall
    const state = () => /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]
    await until(() => state() === 'T', 'the process to stop')
    await stand.warden.thaw(wall.id)
    await until(() => state() !== 'T', 'the process to go on')
    const { length } = wall.said.stdout
    await until(() => wall.said.stdout.length > length, 'more output')
    const place = join('/tmp', `mayfly-${wall.id}`)
    assert.ok(
      existsSync(place) && existsSync(join(leaseFolder(stand.stateFolder), `${wall.id}.json`)),
    )
    await wall.kill()
    assert.ok(!isAlive(pid) && !existsSync(place))
    await until(
      () => !readdirSync(leaseFolder(stand.stateFolder)).some((name) => name.includes(wall.id)),
      'the lease to be gone',
    )
  })

  test('is unavailable with the reason where sandbox-exec is missing, or its program cannot start', async () => {
    await using bare = await openWhole({ sandboxExec, hide: ['sandbox-exec'] })
    await assert.rejects(bare.start('node', 'seatbelt'), {
      code: 'NO_JAIL',
      message: /sandbox-exec is missing/,
    })
    const broken = join(folder, 'broken')
    writeFileSync(broken, '#!/bin/sh\necho "Error: profile does not compile" >&2\nexit 65\n', {
      mode: 0o755,
    })
    try {
      await using refused = await openWhole({ sandboxExec: broken })
      await assert.rejects(refused.start('node', 'seatbelt'), {
        code: 'UNAVAILABLE',
        message: /it ended \(65\).*profile does not compile/,
        hint: /log show/,
      })
    } finally {
      rmSync(broken)
    }
  })
})

/** A second wall that waits for its job: its process and its folder. */
async function heldWall(stand: Awaited<ReturnType<typeof openWhole>>) {
  const wall = await stand.start('node', 'seatbelt')
  const { id, pid } = wall.started.wall
  const own = join('/tmp', `mayfly-${id}`)
  return { pid, folder: own, [Symbol.asyncDispose]: async () => void (await wall.kill()) }
}

interface Targets {
  readonly canary: string
  readonly port: number
  readonly folder: string
  readonly leases: string
  readonly other: string
  readonly pid: number
}

/** Program that prints the error's code of each attack, or `reached`. Each is harmless if it gets through. */
function attacks({ canary, port, folder, leases, other, pid }: Targets): string {
  return `
import fs from 'node:fs'
import net from 'node:net'
import dgram from 'node:dgram'
import { spawnSync, execFileSync, fork } from 'node:child_process'
import { Worker } from 'node:worker_threads'
const [canary, folder, leases, other] = ${JSON.stringify([canary, folder, leases, other])}
const answers = {}
const codeOf = (error) => error?.code ?? error?.cause?.code ?? String(error)
async function attack(name, act) {
  try { await act(); answers[name] = 'reached' } catch (error) { answers[name] = codeOf(error) }
}
const once = (emitter, name) => new Promise((resolve, reject) => { emitter.once(name, resolve); emitter.once('error', reject) })
await attack('read', () => fs.readFileSync(canary))
await attack('read later', () => fs.promises.readFile(canary))
await attack('read by a link', () => { fs.symlinkSync(canary, 'link'); fs.readFileSync('link') })
await attack('hard link', () => fs.linkSync(canary, 'hard'))
await attack('copy', () => fs.copyFileSync(canary, 'copy'))
await attack('list', () => fs.readdirSync(folder))
await attack('list the leases', () => fs.readdirSync(leases))
await attack('list another wall', () => fs.readdirSync(other))
await attack('write in another wall', () => fs.writeFileSync(other + '/x', 'x'))
await attack('write beside', () => fs.writeFileSync(folder + '/x', 'x'))
await attack('append', () => fs.appendFileSync(canary, 'x'))
await attack('truncate', () => fs.truncateSync(canary))
await attack('rename out', () => { fs.writeFileSync('own', 'x'); fs.renameSync('own', folder + '/own') })
await attack('connect', () => once(net.connect(${port}, '127.0.0.1'), 'connect'))
await attack('send a datagram', () => new Promise((resolve, reject) => {
  const socket = dgram.createSocket('udp4').on('error', reject)
  socket.send('x', ${port}, '127.0.0.1', (error) => (error ? reject(error) : resolve()))
}))
await attack('run a program', () => { const { error } = spawnSync('/bin/true'); if (error) throw error })
await attack('run a shell', () => execFileSync('/bin/sh', ['-c', 'echo x']))
await attack('signal the warden', () => process.kill(process.ppid, 0))
await attack('signal another wall', () => process.kill(${pid}, 0))
console.log(JSON.stringify(answers))
process.exit(0)`
}
