import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, suite, test } from '../fixtures/drawn.ts'
import { copyMachineState } from '../fixtures/machine-images.ts'
import { descendantsOf } from '../hostile/proc.ts'
import { isQemuThere, noQemu } from '../walls/qemu-here.ts'
import { documentOf, leasesIn, makePlace, mayfly, remaining, type Place } from './program.ts'

/** `mayfly evidence resume`, from outside. The planted text is nowhere in the job's source. */
const skip = isQemuThere() ? false : noQemu
const plants = `
held = '-'.join(['planted', 'in', 'tmpfs', str(99 * 83)])
with open('/tmp/note', 'w') as file: file.write(held)
print(len(held))
`

suite(
  'A capture of a virtual machine is resumed by the command line',
  { skip, timeout: 900_000 },
  () => {
    let place: Place
    let missing: string | undefined
    let id = ''
    before(async () => {
      place = makePlace()
      missing = await copyMachineState(place.state)
      if (missing !== undefined) return
      const file = join(place.cwd, 'plants.py')
      writeFileSync(file, plants)
      const words = ['run', file, '--tier', 'microvm', '--timeout', '120s', '--capture', '--json']
      const ran = await mayfly(place, words)
      assert.equal(documentOf(ran).status, 'ok', ran.stderr)
      id = documentOf(ran).id
    })
    after(() => place.remove())
    const evidence = (words: readonly string[], stdin?: string) =>
      mayfly(place, ['evidence', ...words], stdin === undefined ? {} : { stdin })
    const linesOf = async () => {
      const listed = await mayfly(place, ['audit', 'list', '--run', id, '--limit', '100', '--json'])
      const lines = JSON.parse(listed.stdout) as { readonly body: Record<string, any> }[]
      return lines
        .map(({ body }) => body)
        .filter(({ point }) => /^evidence\/(resume|comm)/.test(point))
    }

    test('S1-20: commands run in it, with lines of the record, and the bundle stays as it was', async (t) => {
      if (missing !== undefined) return t.skip(missing)
      assert.match((await evidence(['show', id])).stdout, /resumable {2}by evidence resume/)
      const before = bundleOf(place)
      const words = ['--exec', 'cat /tmp/note', '--exec', 'hostname', '--exec', 'exit 3']
      const resumed = await evidence(['resume', id, '--json', ...words])
      const { commands, trust, wall } = documentOf(resumed)
      assert.equal(trust, 'guest')
      const [note, hostname, failed] = commands
      assert.deepEqual([note.exitCode, note.stdout], [0, 'planted-in-tmpfs-8217'])
      assert.equal(hostname.stdout.trim(), wall)
      assert.deepEqual([failed.exitCode, resumed.code], [3, 1])
      assert.equal(bundleOf(place), before)
      assert.deepEqual(leasesIn(place), [])
      const lines = await linesOf()
      const [began, first] = lines.map(({ point, fields }) => ({ point, ...fields }))
      assert.equal(began.point, 'evidence/resumed')
      assert.deepEqual([began.lifeMs, began.isThawed], [600_000, false])
      assert.deepEqual([first.command, first.exitCode], ['cat /tmp/note', 0])
      assert.equal(lines.length, 5)
      assert.equal(lines.at(-1)!['point'], 'evidence/resume-ended')
      assert.equal((await mayfly(place, ['audit', 'verify'])).code, 0)
    })

    test('Commands come from standard input, a line each, and only what the guest shows is on stdout', async (t) => {
      if (missing !== undefined) return t.skip(missing)
      const resumed = await evidence(['resume', id], 'cat /tmp/note\n\necho second\n')
      assert.deepEqual(
        [resumed.code, resumed.stdout],
        [0, 'planted-in-tmpfs-8217second\n'],
        resumed.stderr,
      )
      assert.match(resumed.stderr, /without a network, for 10m[^]*frozen[^]*untrusted/)
    })

    test('The machine ends at the end of its life and at a signal, and a killed command leaves no process of it', async (t) => {
      if (missing !== undefined) return t.skip(missing)
      const late = await evidence(['resume', id, '--for', '4s', '--json', '--exec', 'sleep 600'])
      assert.deepEqual([late.code, documentOf(late)['ended']], [1, 'its machine ended (deadline)'])
      assert.deepEqual(leasesIn(place), [])
      for (const signal of ['SIGINT', 'SIGKILL'] as const) {
        const all: number[] = []
        const held: string[] = []
        const stdin = 'cat /tmp/note\nsleep 600\n'
        const started = (child: ChildProcess) =>
          void child.stdout!.once('data', () => {
            all.push(child.pid!, ...descendantsOf(child.pid!))
            held.push(...leasesIn(place))
            child.kill(signal)
          })
        await mayfly(place, ['evidence', 'resume', id], { stdin, started })
        assert.ok(all.length > 1 && held.length > 0)
        assert.deepEqual(await remaining(all), [])
        if (signal === 'SIGINT') assert.deepEqual(leasesIn(place), [])
      }
      // The next start sweeps what the killed warden held.
      assert.equal((await evidence(['resume', id, '--exec', 'true'])).code, 0)
      assert.deepEqual(leasesIn(place), [])
    })

    test('A life that is no duration, another run and another capture are refused', async (t) => {
      if (missing !== undefined) return t.skip(missing)
      assert.equal((await evidence(['resume', id, '--for', '2h'])).code, 2)
      const none = await evidence(['resume', `exec_${'a'.repeat(32)}`, '--json'])
      assert.deepEqual([none.code, documentOf(none)['error'].code], [1, 'NOT_FOUND'])
      const other = await evidence(['resume', id, '--capture', 'capture-1', '--json'])
      assert.deepEqual([other.code, documentOf(other)['error'].code], [1, 'NOT_FOUND'])
    })

    test('A bundle of which a byte was changed is refused, and one whose template is gone', async (t) => {
      if (missing !== undefined) return t.skip(missing)
      const began = (await linesOf()).length
      const shown = await evidence(['show', id])
      assert.match(shown.stdout, /resumable {2}by evidence resume/)
      const [, base = ''] = /(memory-bases\/[0-9a-f]{64})/.exec(shown.stdout)!
      rmSync(join(place.state, base))
      const baseless = await evidence(['resume', id, '--json', '--exec', 'true'])
      assert.deepEqual([baseless.code, documentOf(baseless)['error'].code], [1, 'STATE'])
      assert.match(documentOf(baseless)['error'].message, /not kept/)
      using db = new DatabaseSync(join(place.state, 'bodies.db'))
      db.exec("UPDATE bodies SET body = zeroblob(20) WHERE name LIKE '%/guest-files.tar/0'")
      const changed = await evidence(['resume', id, '--json', '--exec', 'true'])
      assert.deepEqual([changed.code, documentOf(changed)['error'].code], [1, 'STATE'])
      assert.match(documentOf(changed)['error'].message, /guest-files\.tar/)
      assert.equal((await linesOf()).length, began)
      assert.deepEqual(leasesIn(place), [])
    })
  },
)

/** Digest of every stored body. */
function bundleOf({ state }: Place): string {
  using db = new DatabaseSync(join(state, 'bodies.db'), { readOnly: true })
  const hash = createHash('sha256')
  for (const row of db.prepare('SELECT * FROM bodies ORDER BY rowid').iterate())
    for (const value of Object.values(row))
      hash.update(value instanceof Uint8Array ? value : String(value))
  return hash.digest('hex')
}
