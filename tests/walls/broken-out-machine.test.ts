import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  copyFileSync,
  mkdtempSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { wallUids } from '../../src/contract/uids.ts'
import { openCProgram } from '../../src/jail/c-program.ts'
import { machineFilter } from '../../src/warden/engines/qemu/filter.ts'
import { jailCommand } from '../../src/warden/engines/qemu/jail.ts'
import { machinePaths } from '../../src/warden/engines/qemu/machine.ts'
import { whyTemplateBytesBroken, type Template } from '../../src/warden/engines/qemu/template.ts'
import type { Clone } from '../../src/warden/engines/qemu/clone.ts'
import { cloneState, CloneStand } from './clone-stand.ts'

/** Arbitrary code in place of a clone's QEMU, in the same jail: the test program tests/fixtures/broken-out.c. */
const timeout = 300_000
const FILTER_FD = 3
const RUN_MS_MAX = 60_000
const FILE_BYTES_MAX = 2 ** 20
/** Tries that the program is let where only its root is read-only, of those that harm no process. */
const letOutside = [
  'open the folder of another clone',
  'open /proc',
  'open a device',
  "open the host's users",
  'reach the host by TCP',
  'reach an abstract socket',
  'reach a socket by its path',
]
const found = await cloneState()
const program = await openCProgram({
  name: 'broken-out',
  sources: [fileURLToPath(new URL('../fixtures/broken-out.c', import.meta.url))],
  linking: 'static',
})
const reason = [found, program].flatMap((one) => ('missing' in one ? [one.missing] : []))[0]
const skip = reason ?? false
const stand = new CloneStand('missing' in found ? '' : found.state)
const root = mkdtempSync(path.join(tmpdir(), 'mayfly-broken-'))
after(() => rmSync(root, { recursive: true, force: true }))

suite('A QEMU taken over by its guest', { skip, timeout }, () => {
  let template: Template
  let other: Clone
  const servers: Server[] = []
  before(async () => {
    template = await stand.template('python')
    other = await stand.clone(template)
  })
  after(async () => {
    for (const server of servers) server.close()
    await stand.clear()
  })

  test('S0-1: it cannot write the template, see another clone or its files, fill the disk, or reach a network', async () => {
    const abstract = `mayfly-${randomBytes(8).toString('hex')}`
    const socket = path.join(root, 'socket')
    const port = await listenOn(servers, 0)
    await listenOn(servers, `\0${abstract}`)
    await listenOn(servers, socket)
    chmodSync(socket, 0o777)
    const asked = [
      `${other.machine.processes.at(-1)!.pid}`,
      other.machine.folder,
      `${port}`,
      abstract,
      socket,
    ]
    const { lines, complaint, writtenBytes, file } = await runBrokenOut(template, asked)
    assert.equal(lines.size, 46, complaint)
    assert.equal(writtenBytes, FILE_BYTES_MAX)
    const allowed = [...lines].filter(([, errno]) => errno === 0).map(([name]) => name)
    // Both show that the program ran in place of a clone.
    assert.deepEqual(allowed, ['write the state of its devices', 'read the memory of its template'])
    assert.equal(await whyTemplateBytesBroken(template), undefined)
    const outside = await runOutside(file, asked.slice(2))
    for (const name of letOutside) assert.equal(outside.lines.get(name), 0, name)
  })
})

async function listenOn(servers: Server[], at: string | number): Promise<number> {
  const server = createServer((socket) => socket.destroy())
  servers.push(server)
  server.listen(at === 0 ? { host: '127.0.0.1', port: 0 } : { path: at as string })
  await once(server, 'listening')
  return at === 0 ? (server.address() as AddressInfo).port : 0
}

async function runBrokenOut(template: Template, asked: readonly string[]) {
  assert.ok(!('missing' in program))
  const own = mkdtempSync(path.join(root, 'own-'))
  const uid = stand.host.isRoot ? wallUids.last : undefined
  chmodSync(root, 0o755)
  const devices = path.join(own, path.basename(machinePaths.ownDevices))
  writeFileSync(devices, '')
  if (uid !== undefined) for (const one of [own, devices]) chownSync(one, uid, uid)
  // A copy of QEMU's folder with another program in place of QEMU, readable by every uid.
  const place = mkdtempSync(path.join(root, 'program-'))
  const at = path.dirname(machinePaths.kernel)
  const file = path.join(place, 'qemu')
  copyFileSync(program.file, file)
  for (const one of [place, file]) chmodSync(one, 0o755)
  const inPlace = {
    file,
    mounts: [{ from: file, at: `${at}/qemu` }],
    links: [],
    words: [`${at}/qemu`],
  }
  const command = jailCommand(
    {
      program: inPlace,
      files: { image: template.image, template: template.folder },
      own,
      isOwnWritable: false,
      uid,
      fileBytesMax: FILE_BYTES_MAX,
      filterFd: FILTER_FD,
    },
    stand.programs.programs,
    asked,
  )
  const told = await linesOf(command)
  return { ...told, writtenBytes: statSync(devices).size, file }
}

/** Without a jail, but with a read-only root; no process has this pid. */
async function runOutside(file: string, asked: readonly string[]) {
  const { bubblewrap } = stand.programs.programs
  const places = ['--ro-bind', '/', '/', '--dev-bind', '/dev', '/dev', '--proc', '/proc', '--']
  return await linesOf([bubblewrap, ...places, file, '999999999', '/', ...asked])
}

/** Runs a command of the test program, which finds its filter at `FILTER_FD`; its lines by name. */
async function linesOf([command = '', ...args]: readonly string[]) {
  const child = spawn(command, args, {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    timeout: RUN_MS_MAX,
  })
  const said = { stdout: '', stderr: '' }
  child.stdout!.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()))
  child.stderr!.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()))
  const filter = child.stdio[FILTER_FD] as NodeJS.WritableStream
  filter.on('error', () => undefined)
  filter.end(machineFilter('tcg'))
  await once(child, 'close')
  const lines = said.stdout
    .trim()
    .split('\n')
    .map((line) => /^(.+) (-?\d+)$/.exec(line)!)
    .map(([, name, errno]) => [name!, Number(errno)] as const)
  return { lines: new Map(lines), complaint: `${said.stdout}${said.stderr}` }
}
