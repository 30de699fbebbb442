import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { copyFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, suite, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { DeadEnclosure } from '../../src/contract/engine.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { isAlive, type ProcessIdentity } from '../../src/os/proc.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { openLeases } from '../../src/warden/lease.ts'
import { cloneSteps, type CloneStep } from '../../src/warden/engines/qemu/clone.ts'
import { hashFile } from '../../src/warden/engines/qemu/hashed-file.ts'
import type { QemuProcess } from '../../src/warden/engines/qemu/process.ts'
import { sweepDead } from '../../src/warden/engines/sweep.ts'
import { wallFolder } from '../../src/warden/engines/wall-folder.ts'
import {
  templateSteps,
  whyTemplateBytesBroken,
  type Template,
} from '../../src/warden/engines/qemu/template.ts'
import { drawn } from '../fixtures/drawn.ts'
import { claimed, cloneState, CloneStand } from './clone-stand.ts'

/** Faults of templates and of their clones, on real machines. */
const image = 'python'
const LATE_MS = 500
const GONE_MS_MAX = 5_000
const OWNER_MS_MAX = 240_000
const timeout = 600_000
const found = await cloneState()
const skip = 'missing' in found ? found.missing : false
const stand = new CloneStand('missing' in found ? '' : found.state)
const root = mkdtempSync(path.join(tmpdir(), 'mayfly-faults-'))
const owner = fileURLToPath(new URL('../fixtures/template-owner.ts', import.meta.url))
after(() => rmSync(root, { recursive: true, force: true }))
const namespaces =
  process.getuid?.() === 0
    ? ['unshare', '--mount']
    : ['unshare', '--user', '--map-root-user', '--mount']

const dying = drawn(templateSteps, 'deaths while a template is made', 3)
const killed = drawn(
  [
    ...templateSteps.map((step) => `template ${step}`),
    ...cloneSteps.map((step) => `clone ${step}`),
  ],
  'steps of an owner',
  5,
)

suite('A template of a machine', { skip, timeout }, () => {
  for (const step of dying)
    test(`QEMU that dies after the step "${step}" leaves nothing of a template, or a complete one`, async () => {
      const machines: QemuProcess[] = []
      const onStep = (done: string, machine: QemuProcess) => {
        machines.push(seen(machine))
        if (done === step) machine.kill()
      }
      const making = stand.template(image, { onStep })
      // Files are complete at that step.
      if (step === 'saved' || step === 'kept') {
        assert.equal(await whyTemplateBytesBroken(await making), undefined)
        await stand.clear()
      } else await assert.rejects(making, isMayflyError)
      assertNothingLeft(machines)
      assert.equal(stand.host.leases.size, 0)
    })

  test('A hanging save times out, and leaves nothing', async () => {
    const machines: QemuProcess[] = []
    const onStep = (done: string, machine: QemuProcess) => {
      machines.push(seen(machine))
      if (done === 'stopped') process.kill(machine.processes.at(-1)!.pid, 'SIGSTOP')
    }
    const making = stand.template(image, { onStep, saveMsMax: LATE_MS })
    await assert.rejects(making, { code: 'PROTOCOL', message: /"migrate" is late/ })
    assertNothingLeft(machines)
    assert.equal(stand.host.leases.size, 0)
  })

  test(
    'A full disk ends the creation of a template, and leaves nothing',
    { skip: noMounts() },
    async () => {
      // Room for 40 MB, where a boot writes more than a hundred.
      const script = `mount -t tmpfs -o size=40m,mode=1777 none /tmp && mkdir -p "$0" || exit 99
        "$@"; code=$?; ls -d /tmp/mayfly-[wt]* 2>/dev/null; exit $code`
      const shell = [...namespaces, 'sh', '-c', script, root]
      const { code, stdout, stderr } = await runOwner('none', root, shell)
      assert.equal(code, 1, stderr)
      assert.match(stderr, /MayflyError/)
      assert.equal(stdout, '')
    },
  )

  for (const step of killed)
    test(`S0-3: an owner killed after the step "${step}" leaves no process, and a sweep removes the rest`, async () => {
      const leases = mkdtempSync(path.join(tmpdir(), 'mayfly-leases-'))
      try {
        const { signal, stderr } = await runOwner(step, leases)
        assert.equal(signal, 'SIGKILL', stderr)
        const left: DeadEnclosure[] = []
        openLeases(leases).sweep((_engine, dead) => left.push(...dead))
        assert.ok(left.length > 0)
        const processes = left.flatMap(({ remains }) => remains['processes'] as ProcessIdentity[])
        assert.ok(processes.length > 0, 'its leases name no process')
        const until = performance.now() + GONE_MS_MAX
        while (processes.some(isHere) && performance.now() < until) await sleep(20)
        assert.deepEqual(processes.filter(isHere), [])
        assert.ok(left.some(({ id }) => existsSync(wallFolder(id))))
        sweepDead(left)
        assert.deepEqual(
          left.filter(({ id }) => existsSync(wallFolder(id))),
          [],
        )
        const groups = left.flatMap(({ remains }) => remains['cgroup'] ?? []) as string[]
        const here = openCgroups()?.list() ?? []
        assert.deepEqual(
          groups.filter((name) => here.includes(name)),
          [],
        )
      } finally {
        rmSync(leases, { recursive: true, force: true })
      }
    })
})

suite('A clone of a template', { skip, timeout }, () => {
  let template: Template
  before(async () => {
    template = await stand.template(image)
  })
  after(() => stand.clear())

  for (const step of cloneSteps.slice(0, -1))
    test(`QEMU that dies after the clone's step "${step}" is reported, and leaves nothing`, async () => {
      const machines: QemuProcess[] = []
      const onStep = (done: CloneStep, machine: QemuProcess) => {
        machines.push(seen(machine))
        if (done === step) machine.kill()
      }
      await assert.rejects(stand.clone(template, { onStep }), isMayflyError)
      assertNothingLeft(machines)
      await claimed(await stand.clone(template))
    })

  test('A hanging restore times out, and leaves nothing', async () => {
    const machines: QemuProcess[] = []
    const onStep = (done: CloneStep, machine: QemuProcess) => {
      machines.push(seen(machine))
      if (done === 'started') process.kill(machine.processes.at(-1)!.pid, 'SIGSTOP')
    }
    const late = stand.clone(template, { onStep, restoreMsMax: LATE_MS })
    await assert.rejects(late, { code: 'PROTOCOL', message: /late/ })
    assertNothingLeft(machines)
  })

  const faults: readonly (readonly [name: string, cause: RegExp, make: (one: Template) => void])[] =
    [
      ['one byte of memory changed', /was changed/, ({ memory }) => flip(memory.path)],
      ['one byte of state changed', /was changed/, ({ state }) => flip(state.path)],
      ['memory cut short', /was changed/, ({ memory }) => truncateSync(memory.path, 4096)],
      ['state cut short', /was changed/, ({ state }) => truncateSync(state.path, 100)],
      ['no memory', /is missing/, ({ memory }) => rmSync(memory.path)],
      ['no state', /is missing/, ({ state }) => rmSync(state.path)],
    ]
  for (const [name, cause, make] of drawn(faults, 'faults of a template', 2))
    test(`Attack: a template with ${name} makes no clone`, async () => {
      const own = await copyOf(template)
      assert.equal(await whyTemplateBytesBroken(own), undefined)
      make(own)
      await assert.rejects(stand.clone(own), { code: 'UNAVAILABLE', message: cause })
      assert.match((await whyTemplateBytesBroken(own))!, cause)
    })

  test('Attack: memory that differs from the recorded hash is refused', async () => {
    const own = await copyOf(template)
    const { sha256 } = own.memory
    const memory = { ...own.memory, sha256: `${sha256[0] === '0' ? '1' : '0'}${sha256.slice(1)}` }
    assert.match((await whyTemplateBytesBroken({ ...own, memory }))!, /has other bytes/)
  })
})

/** Copies the files of a template. */
async function copyOf(template: Template): Promise<Template> {
  const folder = mkdtempSync(path.join(root, 'copy-'))
  const [memory, state] = await Promise.all(
    [template.memory, template.state].map(async ({ path: from }) => {
      const to = path.join(folder, path.basename(from))
      await copyFile(from, to)
      chmodSync(to, 0o644)
      return await hashFile(to)
    }),
  )
  chmodSync(folder, 0o755)
  return { ...template, folder, memory: memory!, state: state! }
}

function flip(file: string): void {
  const fd = openSync(file, 'r+')
  const byte = Buffer.alloc(1)
  readSync(fd, byte, 0, 1, 64)
  writeSync(fd, Buffer.from([byte[0]! ^ 1]), 0, 1, 64)
  closeSync(fd)
}

/** A machine that has a folder, which must be gone later. */
function seen(machine: QemuProcess): QemuProcess {
  assert.ok(existsSync(wallFolder(machine.id)), 'it has no folder')
  return machine
}

function assertNothingLeft(machines: readonly QemuProcess[]): void {
  assert.deepEqual(machines.flatMap(({ processes }) => processes).filter(isHere), [])
  assert.ok(machines.length > 0, 'no machine was started')
  const gone = [...stand.leased].filter((id) => !stand.host.leases.has(id))
  assert.deepEqual(
    gone.filter((id) => existsSync(wallFolder(id))),
    [],
  )
  for (const { id } of machines) assert.ok(gone.includes(id))
}

function isHere({ pid, startTime }: ProcessIdentity): boolean {
  return isAlive(pid, startTime)
}

/** Reason why no mount can be made here, or false. */
function noMounts(): string | false {
  if (process.execPath.startsWith('/tmp/')) return 'the programs of this checkout lie below /tmp'
  const [file = '', ...args] = namespaces
  const { status } = spawnSync(file, [...args, 'mount', '-t', 'tmpfs', 'none', '/mnt'])
  return status === 0 ? false : 'a mount namespace cannot be made here'
}

/** Runs an owner to its end. */
async function runOwner(step: string, leases: string, before: readonly string[] = []) {
  const [file, ...args] = [
    ...before,
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    owner,
    step,
    leases,
    JSON.stringify(await stand.partsOf(image)),
  ]
  const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: OWNER_MS_MAX })
  const said = { stdout: '', stderr: '' }
  child.stdout.on('data', (chunk: Buffer) => (said.stdout += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (said.stderr += chunk.toString()))
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  return { code, signal, ...said }
}

const isMayflyError = (error: unknown) => error instanceof MayflyError
