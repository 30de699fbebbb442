import assert from 'node:assert/strict'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { descendantsOf } from '../hostile/proc.ts'
import { firefoxPath, startFirefox, type Firefox } from '../fixtures/firefox.ts'
import { seedScript } from '../fixtures/page-of-a-site.ts'
import { makePlace, remaining, startServer, whenReady, type Server } from './program.ts'

/** Pages of a site, in the system's Firefox. */
if (!firefoxPath && process.env['CI'] === 'true')
  test('Pages work in Firefox', () => assert.fail('Firefox is missing'))

/** Keeps what the page logs. */
const logged = `<script>
globalThis.heard = new Promise((resolve) => {
  console.log = (text, value) => text === 'Active content results:' && resolve(value)
})
</script>`

suite('A site in Firefox', { skip: !firefoxPath && 'Firefox is missing' }, () => {
  const place = makePlace()
  const site = mkdtempSync(join(tmpdir(), 'mayfly-site-'))
  let server: Server
  let firefox: Firefox

  before(async () => {
    chmodSync(site, 0o755)
    writeFileSync(
      join(site, 'seed.html'),
      `<!doctype html><title>A site</title>${logged}${seedScript}`,
    )
    writeFileSync(join(site, 'tag.html'), '<!doctype html><script src="/mayfly.js"></script>')
    writeFileSync(join(site, 'active.js'), 'return [1, 2, 3].map((n) => n * n)')
    server = await startServer(place, [site])
    await whenReady(server)
    firefox = await startFirefox(firefoxPath!)
  })
  after(async () => {
    await firefox?.[Symbol.asyncDispose]()
    await server?.stop()
    place.remove()
    rmSync(site, { recursive: true, force: true })
  })

  const valueIn = (page: string, expression: string) =>
    firefox.valueIn(new URL(page, server.static).href, expression) as Promise<
      Record<string, unknown>
    >

  test('S0-7: the published client-side code, inline in a page, gets its results in Firefox', async () => {
    const { status, result } = await valueIn('/seed.html', 'heard')
    assert.deepEqual([status, result], ['ok', [1, 4, 9]])
  })

  test('S0-7: one script tag runs active content in Firefox, with live output', async () => {
    const run = `runActiveContent('console.log("heard"); return input + 1', {
      input: 41, on: (event, data) => event === 'stdout' && (globalThis.said = data.text) })`
    const outcome = await valueIn(
      '/tag.html',
      `${run}.then(({ status, result }) => [status, result, said.trim()])`,
    )
    assert.deepEqual(outcome, ['ok', 42, 'heard'])
  })

  test('Firefox leaves no process and no folder', async () => {
    const all = [firefox.child.pid!, ...descendantsOf(firefox.child.pid!)]
    await firefox[Symbol.asyncDispose]()
    assert.deepEqual(await remaining(all), [])
    assert.equal(existsSync(firefox.folder), false)
  })
})
