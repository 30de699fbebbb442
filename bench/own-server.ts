import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** A server of the bench's own, with a state folder that goes with it. */
export interface OwnServer extends AsyncDisposable {
  readonly pid: number
  /** Runs a job through the HTTP door; resolves with the status of its outcome, or the code of its refusal. */
  run(job: Readonly<Record<string, unknown>>): Promise<string>
}

export async function startOwnServer(): Promise<OwnServer> {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'mayfly-bench-'))
  const bin = fileURLToPath(new URL('../bin/mayfly.js', import.meta.url))
  const command = [bin, 'serve', '--port', '0', '--json', '--state', path.join(folder, 'state')]
  const server = spawn(process.execPath, command, {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const [line] = (await once(createInterface(server.stdout), 'line')) as [string]
  const { active, apiKey } = JSON.parse(line) as { active: string; apiKey: string }
  const headers = { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' }
  return {
    pid: server.pid!,
    async run(job) {
      const url = new URL('/v1/executions', active)
      const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(job) })
      const { status, code } = (await answer.json()) as Record<string, string>
      return status ?? code ?? String(answer.status)
    },
    async [Symbol.asyncDispose]() {
      server.kill('SIGTERM')
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
