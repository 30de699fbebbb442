import { isBuiltin } from 'node:module'
import type { Entry } from '../contract/job.ts'
import type { Facts, Reference } from './facts.ts'
import { isWithinAny } from './rules/rule.ts'
import type { Node } from './syntax.ts'

/** Globals of Node and CommonJS that a realm of language `js` lacks. */
const globals = new Set([
  'Blob',
  'BroadcastChannel',
  'Buffer',
  'ByteLengthQueuingStrategy',
  'CompressionStream',
  'CountQueuingStrategy',
  'DecompressionStream',
  'File',
  'FinalizationRegistry',
  'FormData',
  'MessageChannel',
  'MessagePort',
  'PerformanceObserver',
  'ReadableStream',
  'Request',
  'TextDecoderStream',
  'TextEncoderStream',
  'TransformStream',
  'WeakRef',
  'WebSocket',
  'WritableStream',
  '__dirname',
  '__filename',
  'clearImmediate',
  'exports',
  'global',
  'module',
  'process',
  'require',
  'setImmediate',
])
const members = ['crypto.subtle', 'performance.mark', 'performance.measure']
/** CommonJS names that the realm of a cloud function has. */
const ofHandlers = new Set(['exports', 'module', 'require'])
const none: ReadonlySet<string> = new Set()

/**
 * True if a source without a given language needs Node: it is asked for as a program, loads a built-in or a package,
 * loads dynamically, or uses a Node global that it neither binds nor probes with `typeof`.
 */
export function needsNode(facts: Facts, asked: Entry): boolean {
  return (
    asked === 'program' ||
    facts.calls.some(({ callee }) => callee === 'require') ||
    reachesNode(facts, asked === 'handler' ? ofHandlers : none)
  )
}

/**
 * The same for a loaded file: a static `import` of a built-in, which cannot be probed for. Portable libraries
 * name `process` and call `require` in branches that a realm does not take.
 */
export function fileNeedsNode({ loads }: Facts): boolean {
  return loads.some(
    ({ how, module }) => how === 'import' && module !== undefined && isBuiltin(module),
  )
}

function reachesNode(facts: Facts, given: ReadonlySet<string>): boolean {
  return (
    facts.loads.some(({ how, module }) => how === 'dynamic' || (module && isInstalled(module))) ||
    usesGlobal(facts, given) ||
    facts.tree.some(isImportMeta)
  )
}

/** True for a built-in or a package, false for a file of the job or a URL. */
function isInstalled(module: string): boolean {
  return isBuiltin(module) || /^(?:node:|[@\w])(?!.*:\/\/)/.test(module)
}

function usesGlobal({ references }: Facts, given: ReadonlySet<string>): boolean {
  const probed = new Set(references.flatMap(({ use, path }) => (use === 'typeof' ? [path] : [])))
  return references.some((reference) => {
    const root = rootOf(reference)
    if (probed.has(root) || root !== writtenRoot(reference.node)) return false
    if (given.has(root)) return false
    return globals.has(root) || isWithinAny(reference.path, members)
  })
}

function rootOf({ path }: Reference): string {
  return path.split('.', 1)[0]!
}

/** Leftmost name of an expression as written: an alias does not count as a use. */
function writtenRoot(node: Node): string | undefined {
  let at: Node | undefined = node
  while (at && at.type !== 'Identifier') at = at['object'] ?? at['callee'] ?? at['expression']
  return at?.['name'] as string | undefined
}

/** `import.meta`, which only Node fills. */
function isImportMeta({ type, meta }: Node): boolean {
  return type === 'MetaProperty' && meta.name === 'import'
}
