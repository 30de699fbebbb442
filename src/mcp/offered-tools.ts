import { codeTools } from './code-mode/code-tools.ts'
import type { ToolHost } from './tool-host.ts'
import type { Tool } from './tool.ts'
import { tools } from './tools.ts'

/** Tools for one caller, including the code-mode tools if it may call an MCP server. */
export function toolsFor({ servers }: Pick<ToolHost, 'servers'>): readonly Tool[] {
  return servers.length > 0 ? [...tools, ...codeTools] : tools
}
