import { isBuiltin } from 'node:module'
import type { Entry } from '../contract/job.ts'
import type { Facts, Reference } from './facts.ts'
import type { Node } from './syntax.ts'

/** Globals of Node that a realm of language `js` has not, and those of its CommonJS modules. */
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
/** A cloud function's own names, which its realm has. */
const ofHandlers = new Set(['exports', 'module', 'require'])
const none: ReadonlySet<string> = new Set()

/**
 * Whether a source, run without a given language, is for Node: it loads a built-in, a package, or anything while it
 * runs, or uses a global of Node's that it neither binds nor asks for with `typeof`.
 */
export function needsNode(facts: Facts, asked: Entry): boolean {
  return (
    facts.calls.some(({ callee }) => callee === 'require') ||
    reachesNode(facts, asked === 'handler' ? ofHandlers : none)
  )
}

/**
 * The same of a file that a source loads: an `import` of a built-in, which nothing can probe for. Libraries for every
 * runtime name `process` and call `require` in branches that a realm does not take.
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

/** A built-in or a package: neither a file of the job nor an address. */
function isInstalled(module: string): boolean {
  return isBuiltin(module) || /^(?:node:|[@\w])(?!.*:\/\/)/.test(module)
}

function usesGlobal({ references }: Facts, given: ReadonlySet<string>): boolean {
  const probed = new Set(references.flatMap(({ use, path }) => (use === 'typeof' ? [path] : [])))
  return references.some((reference) => {
    const root = rootOf(reference)
    if (probed.has(root) || root !== writtenRoot(reference.node)) return false
    if (given.has(root)) return false
    return globals.has(root) || members.some((path) => isBelow(reference.path, path))
  })
}

const isBelow = (path: string, root: string) => path === root || path.startsWith(`${root}.`)

function rootOf({ path }: Reference): string {
  return path.split('.', 1)[0]!
}

/** The name that an expression begins with, as it stands there: an alias of something is no use of it. */
function writtenRoot(node: Node): string | undefined {
  let at: Node | undefined = node
  while (at && at.type !== 'Identifier') at = at['object'] ?? at['callee'] ?? at['expression']
  return at?.['name'] as string | undefined
}

/** Only Node fills it. */
function isImportMeta({ type, meta }: Node): boolean {
  return type === 'MetaProperty' && meta.name === 'import'
}
