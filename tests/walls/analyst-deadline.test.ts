import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { holdWarden } from '../../src/assemble/local-warden.ts'
import { MayflyError } from '../../src/contract/error.ts'
import { findJailFacts } from '../../src/jail/facts.ts'
import { createAnalysisClient } from '../../src/threat/analysis-client.ts'
import { until } from '../conformance/stand.ts'
import { suite, test } from '../fixtures/drawn.ts'

const MiB = 2 ** 20
const isLinux = findJailFacts().platform === 'linux'
/** Memory of earlier sources that a process may keep. */
const keptBytesMax = 14 * MiB
const small = sourceOf('return 1')

suite(
  'An analysis process whose sources share a deadline',
  { skip: isLinux ? false : 'only Linux has these jails' },
  () => {
    test('is ended at the deadline of a slow source, and another process analyses the next source', async () => {
      await using stand = await open()
      const first = await stand.ask()
      process.kill(first, 'SIGSTOP')
      await assert.rejects(
        stand.client.ask('tenant', small),
        (thrown) => thrown instanceof MayflyError && thrown.code === 'UNAVAILABLE',
      )
      assert.notEqual(await stand.ask(), first)
    })

    test('collects garbage or ends after a source that left too much memory', async () => {
      await using stand = await open()
      await stand.ask()
      const large = sourceOf(`return [${'[1, "two", { three: 3 }],'.repeat(40_000)}]`)
      await stand.client.ask('tenant', large)
      const last = await stand.ask()
      // Shortly afterwards it has either collected garbage or ended.
      await until(() => residentBytes(last) <= stand.idleBytes + keptBytesMax, 'its usual size')
      await stand.ask()
    })

    test('is replaced if it ended while it was idle, and no source fails', async () => {
      await using stand = await open()
      const first = await stand.ask()
      const { walls } = await stand.warden.facts()
      await stand.warden.kill(walls.find(({ pid }) => pid === first)!.id)
      assert.notEqual(await stand.ask(), first)
    })

    test('still works after it released its memory', async () => {
      await using stand = await open()
      const first = await stand.ask()
      const before = residentBytes(first)
      await until(() => residentBytes(first) < before - 4 * MiB, 'memory given back')
      assert.equal(await stand.ask(), first)
    })
  },
)

function sourceOf(code: string): string {
  return JSON.stringify({ code, language: 'js', entry: 'auto', files: [] })
}

function residentBytes(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024
  } catch {
    return 0
  }
}

async function open() {
  const folder = mkdtempSync(join(tmpdir(), 'mayfly-analyst-'))
  const warden = holdWarden({ stateFolder: join(folder, 'state') })
  const claimed: string[] = []
  let idleBytes = 0
  const told: typeof warden = {
    ...warden,
    async start(...asked) {
      const started = await warden.start(...asked)
      idleBytes ||= started.wall.idleBytes
      return started
    },
    claim(wall, to) {
      claimed.push(wall)
      return warden.claim(wall, to)
    },
  }
  const emitter = { emit: () => undefined }
  const client = createAnalysisClient({ warden: told, emitter, atOnce: 1, once: false })
  await client.ready()
  return {
    client,
    warden,
    idleBytes,
    /** Has a small source analysed; resolves with the pid of the process that was claimed last. */
    async ask(): Promise<number> {
      const reply = JSON.parse(await client.ask('tenant', small)) as { readonly found: unknown }
      assert.deepEqual(reply.found, [])
      const { walls } = await warden.facts()
      return walls.find(({ id }) => id === claimed.at(-1))!.pid
    },
    async [Symbol.asyncDispose]() {
      await client.close()
      await warden.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
