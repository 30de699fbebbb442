import type { GatewayParts } from '../http/parts.ts'
import { requirePart, type Door } from './door.ts'

/** `/mcp`: the Model Context Protocol over streamable HTTP, for agents. */
export const answerMcp: Door<GatewayParts> = async (parts, { http, identity }) =>
  await requirePart(parts.mcp, 'Cannot serve MCP: it is disabled on this server').answer(
    parts,
    http,
    identity,
  )
