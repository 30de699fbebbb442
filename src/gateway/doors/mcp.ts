import type { GatewayParts } from '../http/parts.ts'
import { present, type Door } from './door.ts'

/** `/mcp`: the Model Context Protocol over streamable HTTP, for agents. */
export const answerMcp: Door<GatewayParts> = async (parts, http, who) =>
  await present(parts.mcp, 'Cannot speak MCP: this server does not').answer(parts, http, who)
