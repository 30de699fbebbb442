import { existsSync } from 'node:fs'
import type { Socket } from 'node:net'
import { recordEvent } from '../assemble/record-events.ts'
import type { Assembly } from '../assemble/assemble.ts'
import { attempt } from '../lib/attempt.ts'
import { executionsFile, StoredExecutions } from './code-mode/stored-executions.ts'
import { KeptFiles } from './kept-files.ts'
import { serversOf } from './servers/tool-catalogue.ts'
import { McpUpstream } from './servers/upstream.ts'
import type { ToolHost } from './tool-host.ts'

type CallerParts = Pick<ToolHost, 'servers' | 'executions' | 'record' | 'outboundCheck' | 'kept'>

/** Parts shared by all MCP callers of one process. */
export interface AgentParts {
  of(tenant: string, principal: string): CallerParts
  /** True if an MCP server is configured. */
  readonly hasServers: boolean
  close(): Promise<void>
}

export interface AgentOptions {
  readonly assembly: Pick<Assembly, 'config' | 'clock' | 'emitter' | 'record' | 'guard'>
  readonly version: string
  readonly startProgram: (name: string) => Promise<Socket>
}

/** Opens the parts without connecting: a server is connected at its first call. */
export function openAgentParts({ assembly, version, startProgram }: AgentOptions): AgentParts {
  const { config, clock, emitter, record, guard } = assembly
  const upstreams = config.mcp.servers.map(
    (one) => new McpUpstream({ config: one, version, clock, env: process.env, startProgram }),
  )
  const files = new KeptFiles(clock)
  let store: StoredExecutions | undefined
  const file = executionsFile(config.state)
  const executions = () => (store ??= new StoredExecutions(file, clock))
  // Sweeps what earlier processes left; a failure is reported by the first call that needs the file.
  if (existsSync(file)) attempt(executions)
  return {
    hasServers: upstreams.length > 0,
    of: (tenant, principal) => ({
      servers: serversOf(upstreams, tenant),
      kept: files.of(JSON.stringify([tenant, principal])),
      executions: () => executions().of(JSON.stringify([tenant, principal])),
      outboundCheck: (run) => guard.outboundCheck(run),
      record(point, fields, run) {
        const event = { ...recordEvent(point, fields, principal, clock), run: run ?? null }
        record.append(event, tenant)
        emitter.emit(point, fields, { actor: principal, ...(run !== undefined && { run }) })
      },
    }),
    async close() {
      await Promise.all(upstreams.map((one) => one.close()))
      store?.close()
      files.clear()
    },
  }
}
