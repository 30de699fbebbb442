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

/** Built-ins that exist only with the prefix `node:`; older versions of Node list none of them. */
const prefixedModules = ['ffi', 'sea', 'sqlite', 'test', 'test/reporters']

/**
 * Node built-ins, without `node:`, that an event names when `import` or `require` requests them; its `module` is absent for
 * any other.
 */
export const refusedModules: readonly string[] = [
  ...new Set([...builtinModules.map((name) => name.replace(/^node:/, '')), ...prefixedModules]),
].filter((name) => !name.startsWith('_'))
