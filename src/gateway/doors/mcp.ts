import type { GatewayParts } from '../http/parts.ts'
import { present, type Door } from './door.ts'

/** `/mcp`: the Model Context Protocol over streamable HTTP, for agents. */
export const answerMcp: Door<GatewayParts> = async (parts, { http, identity }) =>
  await present(parts.mcp, 'Cannot serve MCP: it is disabled on this server').answer(
    parts,
    http,
    identity,
  )
