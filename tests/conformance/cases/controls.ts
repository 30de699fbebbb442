import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { code, type Chapter } from '../case.ts'
import { messageIn } from '../stand.ts'
import type { Stand } from '../stand.ts'

/** Host objects a JavaScript guest would try first. */
const reach = `
const found = []
const tries = {
  process: () => process.pid, require: () => require('fs'), module: () => module.constructor, deno: () => Deno.pid,
  binding: () => process.binding('fs'), env: () => process.env.PATH, buffer: () => Buffer.from('a').buffer,
  constructor: () => console.log.constructor('return process')().pid,
  input: () => input.constructor.constructor('return process')().pid,
  call: async () => (await (async () => {}).constructor('return process')()).pid,
}
for (const [name, run] of Object.entries(tries)) { try { if (await run()) found.push(name) } catch {} }
for (const name of ['node:fs', 'fs', 'node:child_process', 'node:net', 'node:worker_threads', 'node:ffi', 'node:vm']) {
  try { if (await import(name)) found.push(name) } catch {}
}
`

export const controls: Chapter = {
  name: 'Controls',
  cases: [
    {
      title: 'Processes: no process object, require or module of the host is reachable',
      needs: [{ language: 'js' }, code, { enforces: 'processes' }],
      async run(stand) {
        const { end } = await stand.run(`${reach}\nreturn found`, { input: {} })
        assert.deepEqual([end.status, end.resultText], ['ok', '[]'], messageIn(end))
      },
    },
    {
      title: 'Network: no connection reaches a listener on this machine',
      needs: [{ language: 'js' }, code, { enforces: 'network' }],
      run: knocks,
    },
    {
      title: 'Files: no file of this machine is read or written',
      needs: [{ language: 'js' }, code, { enforces: 'files' }],
      run: pries,
    },
    {
      title: 'Secrets: the environment of the host is not readable',
      needs: [{ language: 'js' }, code, { enforces: 'files' }],
      async run(stand) {
        process.env['CONFORMANCE_SECRET'] = 'a canary of the host'
        const { end, stdout } = await stand.run(
          `console.log(Object.getOwnPropertyNames(globalThis).map((name) => {
             try { return String(globalThis[name]?.env?.CONFORMANCE_SECRET) } catch { return '' }
           }).join())
           return typeof process`,
        )
        delete process.env['CONFORMANCE_SECRET']
        assert.doesNotMatch(stdout + end.resultText, /a canary of the host/)
      },
    },
    {
      title: 'State: the next guest finds nothing that a guest left behind',
      needs: [{ language: 'js' }, code],
      async run(stand) {
        const leave = `globalThis.left = 1; Array.prototype.left = 1; Object.prototype.left = 1; return 'left'`
        const look = `return [typeof left, typeof [].left, typeof ({}).left]`
        await stand.run(leave)
        const { end } = await stand.run(look)
        assert.equal(end.resultText, '["undefined","undefined","undefined"]')
      },
    },
  ],
}

async function knocks(stand: Stand): Promise<void> {
  let knocked = 0
  const server = createServer((socket) => {
    knocked++
    socket.destroy()
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    const { end } = await stand.run(
      `const url = 'http://127.0.0.1:' + input.port
       const tries = [
         () => fetch(url), () => new WebSocket(url.replace('http', 'ws')), () => new EventSource(url),
         () => { const x = new XMLHttpRequest(); x.open('GET', url, false); x.send() },
         async () => (await import('node:net')).connect(input.port, '127.0.0.1'),
         () => require('node:net').connect(input.port, '127.0.0.1'), () => import(url),
       ]
       for (const run of tries) { try { await run() } catch {} }
       return tries.length`,
      { input: { port } },
    )
    assert.equal(end.status, 'ok', messageIn(end))
    assert.equal(knocked, 0)
  } finally {
    server.close()
  }
}

async function pries(stand: Stand): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'conformance-'))
  const [canary, mark] = [join(folder, 'canary'), join(folder, 'mark')]
  writeFileSync(canary, 'a canary in a file')
  try {
    const { end, stdout } = await stand.run(
      `const found = []
       const modules = [async () => import('node:fs'), () => require('node:fs'), () => process.binding('fs')]
       for (const load of modules) {
         try { const fs = await load(); found.push(String(fs.readFileSync(input.canary))); fs.writeFileSync(input.mark, '1') } catch {}
       }
       for (const from of [input.canary, 'file://' + input.canary, '/etc/passwd', '/proc/self/environ']) {
         try { found.push(JSON.stringify(await import(from))) } catch (error) { found.push(error.message) }
       }
       return found.join('\\n')`,
      { input: { canary, mark } },
    )
    assert.doesNotMatch(end.resultText + stdout, /a canary in a file|root:/)
    assert.equal(existsSync(mark), false)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
