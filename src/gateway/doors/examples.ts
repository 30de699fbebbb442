/** Valid body for each call with a body; shown in the API description and at `/docs`. */
export const bodyExamples: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  Job: {
    language: 'python',
    code: 'import sys\nprint("counting", len(sys.argv) - 1)\nresult = sum(map(int, sys.argv[1:]))\n',
    args: ['20', '22'],
    limits: { timeout: '10s', memory: '256MB' },
    artifacts: 'inline',
  },
  ActiveContent: { content: 'return input.a + input.b', input: { a: 1, b: 2 }, language: 'js' },
  EffectRequest: { effectId: 'greet', code: 'return { greeting: input.name }', timeout: 1000 },
  EffectCall: { effectId: 'greet', input: { name: 'Ada' } },
  CapabilityCall: { args: [1, 2] },
  ZonesAsked: {
    code: 'const total = input.prices.reduce((sum, price) => sum + price, 0)\nconsole.log(total)\nreturn total',
    language: 'js',
    input: { prices: [40, 3.5] },
  },
  SessionAsked: { language: 'python', timeout: '30m', labels: { team: 'blue' } },
  Exec: { code: 'x = input\nx + 1', input: 20 },
  SessionTimeout: { timeout: '30m' },
  ForkAsked: { children: 2 },
  Tighten: { controls: { network: 'none', cpu: 0.5 } },
  ZoneTighten: { controls: { network: 'none' } },
  DefaultProvider: { name: 'auto' },
  ConfigPatch: { ceilings: { timeout: '30s' } },
  McpMessage: {
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'curl', version: '1' },
    },
  },
}

const mcpSession = ['Mcp-Session-Id: $MCP_SESSION_ID']

/** Headers of an example in addition to the key; may contain shell variables. */
export const headerExamples: Readonly<Record<string, readonly string[]>> = {
  mcp: ['Accept: application/json, text/event-stream'],
  mcpStream: ['Accept: text/event-stream', ...mcpSession],
  mcpEnd: mcpSession,
  streamThreats: ['Accept: text/event-stream'],
}

/** Query of an example that needs one. */
export const queryExamples: Readonly<Record<string, string>> = {
  closeSandboxes: '?label=team:blue',
  putSandboxFile: '?path=data/rows.csv',
}

/** Body of an example that is not JSON. */
export const rawBodyExamples: Readonly<Record<string, string>> = { putSandboxFile: 'a,b' }

/** Path values of an example; a shell variable where only the caller knows the value. */
export const pathExamples: Readonly<Record<string, string>> = {
  '/v1/executions/{id}/artifacts/{path}': '/v1/executions/$ID/artifacts/report.txt',
  '/v1/capabilities/{name}': '/v1/capabilities/math.add',
  '/api/effects/{id}': '/api/effects/greet',
}
