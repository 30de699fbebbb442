import { builtinModules } from 'node:module'

/**
 * Global names of abilities that no isolate has: file system, network, processes, module loader. Looking one up emits the
 * event `name/refused`. `WebAssembly` and `fetch` are refused unless granted. `import` stands for an import of a Node
 * built-in, or any import at run time; `globalThis` for an attempt to replace the prototype of the global object, which would
 * hide later lookups. The guest's half is guest/realm/refused.js.
 */
export const refusedNames = [
  'process',
  'require',
  'fs',
  'fetch',
  'XMLHttpRequest',
  'WebSocket',
  'EventSource',
  'child_process',
  'http',
  'https',
  'net',
  'Deno',
  'Bun',
  'Worker',
  'importScripts',
  'WebAssembly',
  'import',
  'globalThis',
] as const

/** Node built-ins that an event names when `import` or `require` requests them; other module names are not reported. */
export const refusedModules: readonly string[] = builtinModules.filter(
  (name) => !name.startsWith('_'),
)
