import { sanitise } from '../../output/sanitise.ts'
import type { McpUpstream, McpUpstreamTool } from './upstream.ts'

const DESCRIPTION_CHARACTERS_MAX = 1000

/** Tool that a caller may call, with its name in code. */
export interface CatalogueTool extends McpUpstreamTool {
  readonly server: string
  /** Name of the function: the tool's name, converted to an identifier. */
  readonly fn: string
  readonly needsApproval: boolean
  /** Reason for which each call of its server needs an approval. */
  readonly approvalBecause?: string
  readonly upstream: McpUpstream
}

export interface CatalogueView {
  readonly tools: readonly CatalogueTool[]
  /** Unavailable servers with reasons. */
  readonly unavailable: readonly { readonly server: string; readonly because: string }[]
  /** Patterns of the configuration that match no tool. */
  readonly unmatched: readonly string[]
}

/** Servers that a tenant may call. */
export function serversOf(all: readonly McpUpstream[], tenant: string): readonly McpUpstream[] {
  return all.filter(({ config: { tenants } }) => !tenants || tenants.includes(tenant))
}

/** Tools of these servers that their configuration allows. */
export async function catalogueOf(servers: readonly McpUpstream[]): Promise<CatalogueView> {
  const found = await Promise.allSettled(servers.map(toolsOf))
  return {
    tools: found.flatMap((one) => (one.status === 'fulfilled' ? one.value : [])),
    unavailable: found.flatMap((one, at) =>
      one.status === 'rejected'
        ? [{ server: servers[at]!.config.name, because: sanitise(reasonOf(one.reason)) }]
        : [],
    ),
    unmatched: (await Promise.all(servers.map(unmatchedOf))).flat(),
  }
}

/** Patterns that match no tool of their server, none for an unavailable one. */
async function unmatchedOf(upstream: McpUpstream): Promise<readonly string[]> {
  const listed = await upstream.tools().catch(() => undefined)
  if (!listed) return []
  const { name, tools, approve } = upstream.config
  return [
    ...withoutTool(tools, listed).map((one) => `${name}: ${unmatchedText(one, 'tools')}`),
    ...withoutTool(approve, listed).map((one) => `${name}: ${everyCall(one)}`),
  ]
}

function withoutTool(patterns: readonly string[], listed: readonly McpUpstreamTool[]) {
  return patterns.filter((pattern) => !listed.some(({ name }) => matchesAny([pattern], name)))
}

const unmatchedText = (pattern: string, key: string) =>
  `the pattern ${JSON.stringify(pattern)} of "${key}" matches no tool of this server`

const everyCall = (pattern: string) =>
  `each call needs an approval, because ${unmatchedText(pattern, 'approve')}`

/** Catalogues by the list that they were made of: a list stays the same for minutes, and each call of code looks into it. */
const catalogues = new WeakMap<readonly McpUpstreamTool[], readonly CatalogueTool[]>()

/** Tools of one server that its configuration allows. Throws MayflyError UNAVAILABLE. */
export async function toolsOf(upstream: McpUpstream): Promise<readonly CatalogueTool[]> {
  const listed = await upstream.tools()
  const tools = catalogues.get(listed) ?? catalogueTools(upstream, listed)
  catalogues.set(listed, tools)
  return tools
}

/**
 * A pattern of `approve` that matches no tool is misspelt, or the server renamed its tool: which one is unknown, so that
 * each needs an approval then.
 */
function catalogueTools(upstream: McpUpstream, listed: readonly McpUpstreamTool[]) {
  const { name: server, tools: allowed, approve } = upstream.config
  const names = new Set<string>()
  const [unmatched] = withoutTool(approve, listed)
  return listed
    .filter(({ name }) => matchesAny(allowed, name))
    .map((tool): CatalogueTool => {
      const fn = unused(identifierOf(tool.name), names)
      names.add(fn)
      return {
        ...tool,
        description: sanitise(tool.description.slice(0, DESCRIPTION_CHARACTERS_MAX)),
        server,
        fn,
        needsApproval: unmatched !== undefined || matchesAny(approve, tool.name),
        ...(unmatched !== undefined && { approvalBecause: everyCall(unmatched) }),
        upstream,
      }
    })
}

/** Matches a name against patterns, in which `*` matches any characters. */
export function matchesAny(patterns: readonly string[], name: string): boolean {
  return patterns.some((pattern) => {
    const [first = '', ...rest] = pattern.split('*')
    if (rest.length === 0) return name === first
    if (!name.startsWith(first)) return false
    let at = first.length
    for (const part of rest.slice(0, -1)) {
      const found = name.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    const last = rest.at(-1)!
    return name.length - last.length >= at && name.endsWith(last)
  })
}

export function identifierOf(name: string): string {
  const plain = name.slice(0, 64).replace(/[^A-Za-z0-9_$]/g, '_')
  return /^[A-Za-z_$]/.test(plain) ? plain : `_${plain}`
}

function unused(name: string, taken: ReadonlySet<string>): string {
  for (let number = 1; ; number++) {
    const one = number === 1 ? name : `${name}_${number}`
    if (!taken.has(one)) return one
  }
}

function reasonOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message.slice(0, DESCRIPTION_CHARACTERS_MAX) : 'it failed'
}
