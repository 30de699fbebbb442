import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { leaseFolder } from '../../src/lib/state-folder.ts'
import { tryReadText } from '../../src/os/read.ts'
import { until } from '../conformance/stand.ts'
import { after, before, isSampled, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { leasedWalls, wallsLeft } from '../hostile/process/left-behind.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { bearer, post } from './http-door.ts'
import { makePlace, startServer, whenReady, type Server } from './program.ts'

/** Requests at once, each in a machine of its own. */
const atOnce = process.env['MAYFLY_LONG'] ? 50 : isSampled ? 3 : 6
const goneMsMax = 1_000
const skip = isQemuThere() ? false : noQemu

/** Looks for marks of other jobs, leaves its own, and reports its machine, whose id is that of its wall. */
const plants = `
import builtins, os
places = ["/tmp/planted", "/work/planted", "/dev/shm/planted"]
found = [place for place in places if os.path.exists(place)] + [name for name in dir(builtins) if name.startswith("planted")]
builtins.planted = input["mark"]
for place in places: open(place, "w").write(input["mark"])
read = lambda path: open(path).read().strip()
result = {"mark": input["mark"], "found": found, "boot": read("/proc/sys/kernel/random/boot_id"), "id": read("/run/mayfly/id")}`

suite('Requests of machines over HTTP', { skip, timeout: 3_600_000 }, () => {
  const place = makePlace()
  let missing: string | undefined
  let server: Server
  before(async () => {
    missing = await copyMachineState(place.state)
    if (missing !== undefined) return
    server = await startServer(place, [], { MAYFLY_QUEUE_WAIT: '50m' })
    await whenReady(server)
  })
  after(async () => {
    if (missing === undefined) {
      assert.deepEqual(await server.stop(), { code: 0, left: [] })
      await server[Symbol.asyncDispose]()
    }
    place.remove()
  })

  const leasedMachines = () => leasedWalls(place.state).filter(isMachine)
  const isMachine = (wall: string) =>
    tryReadText(join(leaseFolder(place.state), `${wall}.json`))?.includes('"engine":"qemu"') ===
    true

  test('S0-1: parallel requests get machines with boot ids of their own, find nothing of another, and each machine is gone a second after its reply', async (t) => {
    if (missing !== undefined) return t.skip(missing)
    const url = new URL('/v1/executions', server.active).href
    const posted = async () => {
      const mark = randomBytes(12).toString('hex')
      const limits = { timeout: '120s', memory: '64MB' }
      const asked = { code: plants, language: 'python', input: { mark }, tier: 'microvm', limits }
      const { status, json, text } = await post(url, asked, bearer(server.apiKey))
      const replied = performance.now()
      assert.deepEqual([status, json['status'], json['provider']], [200, 'ok', 'qemu'], text)
      const result = json['result'] as Record<'mark' | 'boot' | 'id', string> & { found: string[] }
      assert.deepEqual([result.mark, result.found], [mark, []])
      await until(
        () => wallsLeft(place.state, [result.id]).length === 0,
        'the end of a machine',
        goneMsMax,
      )
      return { ...result, goneMs: performance.now() - replied }
    }
    const replies = Promise.all(Array.from({ length: atOnce }, posted))
    const seen = new Set<string>()
    const timer = setInterval(() => leasedMachines().forEach((wall) => seen.add(wall)), 50)
    const all = await replies.finally(() => clearInterval(timer))
    for (const { id } of all) assert.ok(seen.has(id), `${id} is none of ${[...seen].join()}`)
    assert.equal(new Set(all.map(({ boot }) => boot)).size, atOnce)
    t.diagnostic(
      `gone ${Math.round(Math.max(...all.map(({ goneMs }) => goneMs)))} ms after the reply at most`,
    )
  })
})
