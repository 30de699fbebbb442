import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, suite } from 'node:test'
import { test } from '../fixtures/drawn.ts'
import { isMissing } from '../walls/process-stands.ts'
import { bearer, call, post } from './http-door.ts'
import { bin, documentOf, makePlace, mayfly, startServer, whenReady } from './program.ts'

/** Messages and the hints in them, from the real command and the real server. */
const place = makePlace()
after(() => place.remove())

const write = (name: string, source: string) => writeFileSync(join(place.cwd, name), source)

suite('Messages name the fix', () => {
  test('A job that exceeds a limit gets its flag on the command line and its field over HTTP', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('loop.js', 'for (;;) {}')
    write('hoard.py', 'x = []\nwhile True: x.append(bytearray(10**6))')
    const late = await mayfly(place, ['run', 'loop.js', '--timeout', '300ms'])
    assert.match(
      late.stderr,
      /TIMEOUT The job ran longer than 300 ms of wall time \(--timeout 600ms/,
    )
    const large = await mayfly(place, ['run', 'hoard.py', '--memory', '32MB'])
    assert.match(
      large.stderr,
      /MEMORY The job used more memory than 32 MB.* \(--memory 64MB raises/,
    )
    write('plain.js', '1')
    const tiny = await mayfly(place, ['run', 'plain.js', '--memory', '1'])
    assert.match(
      tiny.stderr,
      /MEMORY The job used more memory than 1 bytes.* \(--memory 32MB raises/,
    )
    await using server = await startServer(place)
    await whenReady(server)
    const url = new URL('/v1/executions', server.active).href
    const body = { code: 'for (;;) {}', limits: { timeout: 5 } }
    const { json } = await post(url, body, bearer(server.apiKey))
    const { message } = json['error'] as { message: string }
    assert.match(message, /"limits\.timeout" raises it; a number is milliseconds/)
    const alive = await call(new URL('/healthz', server.active).href)
    assert.deepEqual([alive.status, alive.json], [200, { status: 'alive' }])
  })

  test('A search along PATH counts as one started program', async (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('tried.py', 'import subprocess; subprocess.run(["true"]); print("one")')
    write(
      'two.py',
      'import subprocess, time\nfor _ in range(3): subprocess.run(["true"])\ntime.sleep(15)',
    )
    write(
      'counts.toml',
      `[schedules.default]
phases = [{ name = "full", for = "20s", terminate_if = 'events["seen/exec"] > 1' }]\n`,
    )
    const run = async (name: string) =>
      documentOf(await mayfly(place, ['run', name, '--config', 'counts.toml', '--json']))
    const one = await run('tried.py')
    assert.deepEqual([one['status'], one['stdout']], ['ok', 'one\n'], JSON.stringify(one['error']))
    if (one['enforced'] !== undefined && (await hasSentinel()))
      assert.equal((await run('two.py'))['status'], 'terminated')
  })

  test('An unterminated last line of output does not run into the summary line', (t) => {
    if (isMissing(t, { jailKind: 'bubblewrap' })) return
    write('line.sh', 'printf "no end"')
    const command = [process.execPath, bin, 'run', 'line.sh', '2>&1'].join(' ')
    const { stdout } = spawnSync('sh', ['-c', command], { cwd: place.cwd, env: place.env })
    assert.match(String(stdout), /^no end\nok · process/)
  })

  test('A key name is unique among live keys, and lists have headings', async () => {
    const make = () => mayfly(place, ['access', 'create', '--name', 'ci'])
    assert.equal((await make()).code, 0)
    const again = await make()
    assert.equal(again.code, 2)
    assert.match(again.stderr, /Cannot name a key "ci": "key_\w+" has this name/)
    const { stdout } = await mayfly(place, ['access', 'list'])
    assert.match(stdout, /^id +name +tenant +scopes +state\n/)
    assert.equal((await mayfly(place, ['access', 'revoke', 'ci'])).code, 0)
    assert.equal((await make()).code, 0)
    const listed = await mayfly(place, ['audit', 'list', '--limit', '3'])
    assert.match(listed.stdout, /^line +time +kind +run +tenant +status +what\n/)
  })

  test('Durations are printed in one form', async () => {
    const { stdout } = await mayfly(place, ['policy', 'explain'])
    assert.match(stdout, /anomalies\.stronger_for +24h/)
    assert.match(stdout, /cache\.age +10m/)
    assert.match(stdout, /limits\.timeout +5s/)
  })

  test('A benchmark runs the requested number of rounds, and writes to its own record', async () => {
    const before = (await mayfly(place, ['audit', 'list', '--limit', '100000', '--json'])).stdout
    const ran = await mayfly(place, ['bench', '--rounds', '2', '--json'])
    assert.equal(ran.code, 0, ran.stderr)
    assert.equal(
      (await mayfly(place, ['audit', 'list', '--limit', '100000', '--json'])).stdout,
      before,
    )
    const none = await mayfly(place, ['bench', '--rounds', 'many'])
    assert.equal(none.code, 2)
  })
})

async function hasSentinel(): Promise<boolean> {
  const rows = documentOf(await mayfly(place, ['providers', '--json'])) as unknown as {
    readonly name: string
    readonly tightens: readonly string[]
  }[]
  return rows.some(({ name, tightens }) => name === 'bubblewrap' && tightens.includes('syscalls'))
}
