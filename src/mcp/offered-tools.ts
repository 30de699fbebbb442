import { codeTools } from './code-mode/code-tools.ts'
import type { ToolHost } from './tool-host.ts'
import type { Tool } from './tool.ts'
import { tools } from './tools.ts'

/** Tools of one caller: those over MCP servers where it may call any. */
export function toolsFor({ servers }: Pick<ToolHost, 'servers'>): readonly Tool[] {
  return servers.length > 0 ? [...tools, ...codeTools] : tools
}
