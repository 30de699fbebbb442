import assert from 'node:assert/strict'
import { chmodSync, cpSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { documentOf, makePlace, mayfly, startServer, whenReady } from './program.ts'

/** State folder, export and configuration made by version 0.1.0: see the README beside them. */
const old = join(import.meta.dirname, '../fixtures/tree-0.1.0')
const linesThen = 13
const place = makePlace()
/** Given by --config, because it widens rights: a file that is only found may not. */
const config = ['--config', join(place.cwd, 'mayfly.toml')]
const key = 'mfy_0123456789abcdef0123456789abcdef'

suite('State written by version 0.1.0', () => {
  before(() => {
    cpSync(join(old, 'state'), place.state, { recursive: true })
    cpSync(join(old, 'state-warden'), `${place.state}-warden`, { recursive: true })
    for (const folder of [place.state, `${place.state}-warden`, `${place.state}-warden/keys`]) {
      chmodSync(folder, 0o700)
      for (const { name, parentPath } of readdirSync(folder, { withFileTypes: true }))
        chmodSync(join(parentPath, name), name === 'keys' ? 0o700 : 0o600)
    }
    cpSync(join(old, 'mayfly.toml'), join(place.cwd, 'mayfly.toml'))
    writeFileSync(join(place.cwd, 'job.js'), 'return input * 2')
  })
  after(() => place.remove())

  test('a record verifies, with the checkpoints of its key', async () => {
    const { code, stdout } = await mayfly(place, ['audit', 'verify', ...config])
    assert.equal(code, 0, stdout)
    assert.match(stdout, new RegExp(`ok: ${linesThen} lines`))
  })

  test('an exported record verifies', async () => {
    const { code, stdout } = await mayfly(place, [
      'audit',
      'verify',
      join(old, 'export.ndjson'),
      ...config,
    ])
    assert.equal(code, 0, stdout)
  })

  test('a configuration is read, with each of its values in force', async () => {
    assert.equal((await mayfly(place, ['policy', 'check', ...config])).code, 0)
    const { stdout } = await mayfly(place, ['policy', 'explain', ...config])
    assert.match(stdout, /limits\.timeout .*8/)
    assert.match(stdout, /tenants/)
  })

  test('a job runs with it, and its lines extend the old chain', async () => {
    const ran = await mayfly(place, ['run', 'job.js', '--input', '4', '--json', ...config])
    const outcome = documentOf(ran)
    assert.equal(outcome['status'], 'ok', ran.stderr)
    assert.equal(outcome['result'], 8)
    assert.ok(outcome['evidence'].audit > linesThen)
    const { code, stdout } = await mayfly(place, ['audit', 'verify', ...config])
    assert.equal(code, 0, stdout)
  })

  test('a server opens it, and runs an effect registered then', async () => {
    await using server = await startServer(place, config, { MAYFLY_API_KEY: key })
    await whenReady(server)
    const answer = await fetch(new URL('/api/effects/execute', server.active), {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ effectId: 'double', input: 21 }),
    })
    const body = (await answer.json()) as { result?: unknown }
    assert.equal(body.result, 42, JSON.stringify(body))
    const { code, left } = await server.stop()
    assert.equal(code, 0)
    assert.deepEqual(left, [])
  })
})
