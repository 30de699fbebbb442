import { builtinModules } from 'node:module'

/**
 * Names that stand for a power which no isolate has: the file system, a network, processes, a loader. A lookup of one is
 * the event `name/refused`. `WebAssembly` and `fetch` are refused unless granted. `import` is a loader that was asked for
 * a module of Node, or for anything at run time; `globalThis` is the prototype of the global object, which code replaced
 * to be seen no more. The guests' half is guest/realm/refused.js.
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
export type RefusedName = (typeof refusedNames)[number]

/** Modules of Node that `import` or `require` asked for; of others no name is told. */
export const refusedModules: readonly string[] = builtinModules.filter(
  (name) => !name.startsWith('_'),
)
