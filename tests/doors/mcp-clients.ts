import { Client } from '@modelcontextprotocol/client'
import { Client as EarlierClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport as EarlierHttp } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

/** An MCP client of any generation, with the calls that tests need. */
export interface McpClient {
  readonly generation: string
  list(): Promise<readonly Record<string, any>[]>
  call(
    name: string,
    args: Readonly<Record<string, unknown>>,
    options?: { readonly onprogress?: (one: any) => void; readonly signal?: AbortSignal },
  ): Promise<CallAnswer>
  /** URIs of the resources. */
  resources(): Promise<readonly string[]>
  /** Contents of a resource. */
  read(uri: string): Promise<Record<string, any>>
  readonly sessionId: () => string | undefined
  close(): Promise<void>
}

export interface CallAnswer {
  readonly isError: boolean
  readonly text: string
  readonly data: Record<string, any>
  readonly content: readonly Record<string, any>[]
}

/**
 * The two published generations: the current SDK by the current revision of the protocol (`modern`) and by the one before
 * (`handshake`), and the SDK before it.
 */
export const generations = ['modern', 'handshake', 'earlier'] as const
export type Generation = (typeof generations)[number]

const about = { name: 'tests', version: '1.0.0' }

export async function connect(
  generation: Generation,
  url: URL,
  key: string,
  capabilities: Record<string, object> = {},
  elicit?: (request: any) => any,
): Promise<McpClient> {
  const requestInit = { headers: { authorization: `Bearer ${key}` } }
  if (generation === 'earlier') {
    const client = new EarlierClient(about, { capabilities })
    const transport = new EarlierHttp(url, { requestInit })
    if (elicit) {
      const { ElicitRequestSchema } = await import('@modelcontextprotocol/sdk/types.js')
      client.setRequestHandler(ElicitRequestSchema, elicit)
    }
    await client.connect(transport)
    return adapted(generation, client, () => transport.sessionId)
  }
  const mode = generation === 'modern' ? { pin: '2026-07-28' } : ('legacy' as const)
  const client = new Client(about, { capabilities, versionNegotiation: { mode } })
  if (elicit) client.setRequestHandler('elicitation/create', elicit)
  const transport = new StreamableHTTPClientTransport(url, { requestInit })
  await client.connect(transport)
  return adapted(generation, client, () => transport.sessionId)
}

/** Wraps a connected client of an SDK as `McpClient`. */
export function adapted(
  generation: string,
  client: Client | EarlierClient,
  sessionId: () => string | undefined = () => undefined,
): McpClient {
  // The two generations differ in one argument, the schema of the answer.
  const callTool = (params: object, options: object): Promise<any> =>
    generation === 'earlier'
      ? (client as EarlierClient).callTool(params as never, undefined, options)
      : (client as Client).callTool(params as never, options)
  return {
    generation,
    sessionId,
    async list() {
      return (await client.listTools()).tools as readonly Record<string, any>[]
    },
    async call(name, args, options = {}) {
      const answer = await callTool({ name, arguments: args }, { timeout: 120_000, ...options })
      return {
        isError: answer.isError === true,
        text: answer.content.find((one: any) => one.type === 'text')?.text ?? '',
        data: answer.structuredContent ?? {},
        content: answer.content,
      }
    },
    async resources() {
      return (await client.listResources()).resources.map(({ uri }) => uri)
    },
    async read(uri) {
      return (await client.readResource({ uri })).contents[0]!
    },
    close: () => client.close(),
  }
}
