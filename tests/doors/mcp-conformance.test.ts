import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { makeKey, makePlace, startServer, type Place, type Server } from './program.ts'

const runner = join(
  import.meta.dirname,
  '../../node_modules/@modelcontextprotocol/conformance/dist/index.js',
)
const runnerMsMax = 110_000

/**
 * Scenarios of the official suite that a server of tools alone can pass, by the revision whose wire they run on. The others ask for
 * tools that the suite names, or for prompts, resources, completions, logging and tasks, none of which are offered.
 */
const passing: Readonly<Record<string, readonly string[]>> = {
  '2025-11-25': [
    'server-initialize',
    'ping',
    'tools-list',
    'server-sse-multiple-streams',
    'dns-rebinding-protection',
    'server-session-lifecycle',
  ],
  '2026-07-28': [
    'tools-list',
    'server-sse-multiple-streams',
    'sep-2164-resource-not-found',
    'dns-rebinding-protection',
    'input-required-result-missing-input-response',
    'input-required-result-unsupported-methods',
    'input-required-result-ignore-extra-params',
    'input-required-result-validate-input',
    'http-header-validation',
  ],
}
/** Checks of `server-stateless`; the four others need tools that the suite names. */
const statelessPassed = 24

suite('Conformance of /mcp', () => {
  let place: Place
  let server: Server
  let proxy: HttpServer
  let url: string
  before(async () => {
    place = makePlace()
    server = await startServer(place)
    proxy = withKey(new URL(server.active), makeKey(place, 'default'))
    proxy.listen(0, '127.0.0.1')
    await once(proxy, 'listening')
    url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/mcp`
  })
  after(async () => {
    proxy.closeAllConnections()
    proxy.close()
    assert.deepEqual((await server.stop()).left, [])
    place.remove()
  })

  for (const [revision, scenarios] of Object.entries(passing))
    test(`scenarios of the official suite for a server of tools pass on the wire of ${revision}`, async () => {
      const words = [runner, 'server', '--url', url, '--requirements', revision]
      const text = await new Promise<string>((resolve) => {
        const options = { cwd: place.cwd, timeout: runnerMsMax, maxBuffer: 2 ** 26 }
        // Scenarios that are not for this server make it exit 1.
        execFile(process.execPath, words, options, (_, stdout) => resolve(stdout))
      })
      const summary = new Map(
        [...text.matchAll(/^([✓✗]) ([\w-]+): (\d+) passed/gm)].map((line) => [
          line[2]!,
          { isPassed: line[1] === '✓', passed: Number(line[3]) },
        ]),
      )
      assert.deepEqual(
        scenarios.filter((name) => !summary.get(name)?.isPassed),
        [],
      )
      if (revision === '2026-07-28')
        assert.ok((summary.get('server-stateless')?.passed ?? 0) >= statelessPassed)
    })
})

/** Adds the key, which the suite cannot send. */
function withKey(to: URL, key: string): HttpServer {
  return createServer((incoming, outgoing) => {
    const { method, headers, url: path } = incoming
    const options = { host: to.hostname, port: to.port, path, method }
    const asked = request({ ...options, headers: { ...headers, authorization: `Bearer ${key}` } })
    asked.on('response', (answer) => {
      outgoing.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(outgoing)
    })
    asked.on('error', () => outgoing.destroy())
    outgoing.on('close', () => asked.destroy())
    incoming.pipe(asked)
  })
}
