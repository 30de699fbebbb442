import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { MayflyError } from '../../src/contract/error.ts'
import { Mayfly, type Box } from '../../src/index.ts'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { openCgroups } from '../../src/os/cgroup.ts'
import { tryReadText } from '../../src/os/read.ts'
import { noMachines } from '../conformance/microvm.ts'
import { descendantsOf } from '../conformance/remains.ts'
import { until } from '../conformance/stand.ts'
import { after, before, isSampled, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { machinesOf } from './qemu-here.ts'

/** SIGKILL to the QEMU of a session, or of a child alone, in the middle of a fork and right after it. */
const skip = noMachines ?? false
const timeout = 1_800_000
const limits = { timeout: '60s' } as const
const folder = skip ? '' : mkdtempSync(join(tmpdir(), 'mayfly-fork-kills-'))
const state = join(folder, 'state')
/** Times after the request: before, in and after the save, and while children start. */
const waitsMs = process.env['MAYFLY_LONG']
  ? [0, 50, 100, 150, 200, 300, 400, 500, 700, 900, 1_200]
  : isSampled
    ? [300]
    : [50, 300, 900]
/** Ends of a session whose machine is gone, and of a fork of it. */
const lost = /^(?:WALL_LOST|UNAVAILABLE|PROTOCOL|SESSION_ENDED|NOT_FOUND)$/

suite('A fork of which one QEMU is killed', { skip, timeout }, () => {
  let mayfly: Mayfly
  before(async () => {
    assert.equal(await copyMachineState(state), undefined)
    mayfly = await Mayfly.open({ state })
    // Makes the template and its spares, which stay.
    await (await opened()).close()
  })
  after(async () => {
    await mayfly.close()
    assert.deepEqual(remains(), { leases: [], folders: [], groups: [], qemu: [] })
    rmSync(folder, { recursive: true, force: true })
  })

  async function opened(): Promise<Box> {
    const box = await mayfly.open({ language: 'python', tier: 'microvm', limits })
    assert.equal((await box.run({ code: 'x = 20\nx', limits })).result, 20)
    return box
  }

  /** Ends sessions; as many walls as before are left, the spares, and the template. */
  async function nothingLeft(before: ReturnType<typeof remains>, boxes: readonly Box[]) {
    // Notes the names of walls that are alive.
    remains()
    for (const one of boxes) await one.close()
    const areBack = () => isDeepStrictEqual(countsOf(remains()), countsOf(before))
    await until(areBack, 'as many walls as before', 60_000).catch(() => undefined)
    assert.deepEqual(countsOf(await whenQuiet()), countsOf(before))
  }

  test('A parent whose QEMU is killed in the middle of a fork is lost; its children go on with values of their own, or there is none', async (t) => {
    const before = await whenQuiet()
    for (const waitMs of waitsMs) {
      const parent = await opened()
      const wall = await wallOf(parent)
      const bootId = await bootIdOf(parent)
      const forking = parent.fork({ children: 2 }).catch(codeOf)
      await sleep(waitMs)
      killMachine(wall)
      const made = await forking
      t.diagnostic(`${waitMs} ms: ${typeof made === 'string' ? made : made.length}`)
      if (typeof made === 'string') assert.match(made, lost)
      else {
        assert.ok(!(await assertOwn(made)).includes(bootId))
      }
      assert.match(await endOf(parent), lost)
      await nothingLeft(before, typeof made === 'string' ? [] : made)
    }
  })

  test('Children whose parent’s QEMU is killed right after the fork go on, and are forked again', async () => {
    const before = await whenQuiet()
    const parent = await opened()
    const wall = await wallOf(parent)
    const children = await parent.fork({ children: 2 })
    killMachine(wall)
    assert.equal(children.length, 2)
    const [grandchild] = await children[0]!.fork()
    await assertOwn([...children, grandchild!])
    assert.match(await endOf(parent), lost)
    await nothingLeft(before, [...children, grandchild!])
  })

  test('A child whose QEMU is killed in the middle of a fork is none, and neither is its sibling; the parent goes on, and is forked again', async (t) => {
    const before = await whenQuiet()
    const parent = await opened()
    const known = await whenQuiet()
    const forking = parent.fork({ children: 2 }).catch(codeOf)
    const killed = await killFirstOutside(known.leases)
    const made = await forking
    t.diagnostic(`${killed}: ${typeof made === 'string' ? made : made.length}`)
    assert.match(made as string, lost)
    assert.deepEqual(await whenQuiet(), known)
    const children = await parent.fork({ children: 2 })
    await assertOwn([parent, ...children])
    await nothingLeft(before, [...children, parent])
  })

  test('A child whose QEMU is killed right after the fork is lost; its parent and its sibling go on, and are forked again', async () => {
    const before = await whenQuiet()
    const parent = await opened()
    const [victim, sibling] = await parent.fork({ children: 2 })
    killMachine(await wallOf(victim!))
    const more = [...(await parent.fork()), ...(await sibling!.fork())]
    await assertOwn([parent, sibling!, ...more])
    assert.match(await endOf(victim!), lost)
    await nothingLeft(before, [...more, sibling!, parent])
  })
})

/** Each has the variable of its parent, and no value that another one has. Resolves with the boot ids. */
async function assertOwn(boxes: readonly Box[]): Promise<readonly unknown[]> {
  const code = `import os\n[x, os.urandom(8).hex(), open('/proc/sys/kernel/random/boot_id').read()]`
  const seen: (readonly unknown[])[] = []
  for (const box of boxes) {
    const { status, result, error } = await box.run({ code, limits })
    assert.equal(status, 'ok', JSON.stringify(error))
    seen.push(result as readonly unknown[])
  }
  assert.deepEqual(
    seen.map(([x]) => x),
    boxes.map(() => 20),
  )
  assert.equal(new Set(seen.flatMap(([, ...own]) => own)).size, 2 * boxes.length)
  return seen.map(([, , bootId]) => bootId)
}

async function bootIdOf(box: Box): Promise<unknown> {
  const { status, result } = await box.run({
    code: `open('/proc/sys/kernel/random/boot_id').read()`,
    limits,
  })
  assert.equal(status, 'ok')
  return result
}

/** Id of its wall, which is its host name. */
async function wallOf(box: Box): Promise<string> {
  const { result } = await box.run({ code: 'import os\nos.uname().nodename', limits })
  return result as string
}

/** The life of a session whose machine was killed; an exec of it first, which notices. */
async function endOf(box: Box): Promise<string> {
  await box.run({ code: '1', limits }).catch(() => undefined)
  const { status, error } = await box.close()
  return error?.code ?? status
}

function codeOf(error: unknown): string {
  if (error instanceof MayflyError) return error.code
  throw error
}

function killMachine(wall: string): void {
  const [pid] = qemuOf(wall)
  assert.ok(pid !== undefined, wall)
  process.kill(pid, 'SIGKILL')
}

/** Kills the first machine with a lease that is not among those. Resolves with its wall. */
async function killFirstOutside(known: readonly string[]): Promise<string> {
  for (let tries = 0; tries < 6_000; tries++) {
    for (const name of leaseNames().filter((one) => !known.includes(one) && !one.startsWith('t'))) {
      const [pid] = qemuOf(name)
      if (pid === undefined) continue
      names.add(name)
      process.kill(pid, 'SIGKILL')
      return name
    }
    await sleep(5)
  }
  throw new Error('no child was started')
}

/** By its lease. */
function qemuOf(wall: string): readonly number[] {
  const lease = tryReadText(join(leaseFolder(state), `${wall}.json`)) ?? ''
  const pids = [...lease.matchAll(/"pid":\s*(\d+)/g)].map(([, pid]) => Number(pid))
  return machinesOf(pids).qemu
}

function leaseNames(): readonly string[] {
  return readdirSync(leaseFolder(state))
    .map((name) => name.replace(/\.json$/, ''))
    .toSorted()
}

/** Walls and saves that had a lease at one of the looks. */
const names = new Set<string>()

/** Leases, QEMUs, and folders and groups of walls without a lease. */
function remains() {
  const leases = leaseNames()
  for (const name of leases) names.add(name)
  const gone = (name: string) => names.has(name) && !leases.includes(name)
  const folders = readdirSync('/tmp').filter((name) => gone(name.replace('mayfly-', '')))
  const groups = (openCgroups()?.list() ?? []).filter(gone)
  return { leases, folders, groups, qemu: machinesOf(descendantsOf(process.pid)).qemu }
}

/** Spares have other names each time. */
function countsOf({ leases, folders, groups, qemu }: ReturnType<typeof remains>) {
  const saves = leases.filter((name) => name.startsWith('t'))
  return { saves, walls: leases.length - saves.length, folders, groups, qemu: qemu.length }
}

/** Resolves with the remains once they have not changed for two seconds: the pool has its spares. */
async function whenQuiet() {
  for (let last = remains(); ; last = remains()) {
    await sleep(2_000)
    if (isDeepStrictEqual(last, remains())) return last
  }
}
