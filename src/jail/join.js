/**
 * Joins the modules of each jailed program into one file.
 *
 * Problem. A program of a wall loads about twenty small modules before it is ready, and Node resolves, reads and links
 * each; an `import` of a built-in also reads all of its exports, some of which load further modules. In total that
 * costs half as much as a plain start of Node.
 *
 * Mechanism. esbuild joins the modules; packages with a native binding stay separate. Built-ins come from
 * `process.getBuiltinModule`, and an imported name is read once, at load, as by `import`, so a job cannot replace it
 * later.
 *
 * Relies on the layout of `guest/`: the realm's sources are beside the joined file of the isolate worker, and one folder above that of
 * the runner of Node.
 */
import { cpSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

const PROGRAMS = [
  'analyst.js',
  'isolate-worker.js',
  'process/forward.js',
  'process/kernel-interrupter.js',
  'process/kernel-node.js',
  'process/node.js',
  'wasm-worker.js',
]
export const NATIVE = ['isolated-vm', 'oxc-parser', 'oxc-transform']
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

/** @type {import('esbuild').Plugin} */
export const builtins = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path, external: true } : { path, namespace: 'builtin' },
    )
    onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({ contents: reads(path) }))
  },
}

/**
 * Loads the native binding of isolated-vm by the path that the host tells (src/jail/cell-binding.ts). @type {import('esbuild').Plugin}
 */
const isolatedVm = {
  name: 'isolated-vm',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^isolated-vm$/ }, ({ path }) => ({ path, namespace: 'native' }))
    onLoad({ filter: /./, namespace: 'native' }, () => ({
      contents: LOADS_BINDING,
      resolveDir: GUEST,
    }))
  },
}

const GUEST = fileURLToPath(new URL('../../guest', import.meta.url))
const LOADS_BINDING = `import { createRequire } from 'node:module'
import { settings } from './settings.js'
if (!settings.binding) throw new Error('Cannot find the binding of isolated-vm for this platform')
export default createRequire(import.meta.url)(settings.binding).ivm`

/**
 * Writes the joined programs of the tree at `root` below `into`, at the same places. Rejects if a module does not
 * parse.
 * @param {string} root @param {string} into @param {boolean} isPacked for the npm package, and so for other machines
 * @returns {Promise<void>}
 */
export async function joinPrograms(root, into, isPacked) {
  const guest = path.join(root, 'guest')
  await build({
    absWorkingDir: root,
    entryPoints: PROGRAMS.map((name) => path.join(guest, name)),
    outdir: path.join(into, 'guest'),
    outbase: guest,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'esnext',
    external: NATIVE,
    ...(isPacked && { minifySyntax: true, minifyWhitespace: true }),
    plugins: [builtins, isolatedVm],
    logLevel: 'silent',
  })
  cpSync(path.join(guest, 'realm'), path.join(into, 'guest/realm'), { recursive: true })
  writeFileSync(path.join(into, 'guest/package.json'), '{ "type": "module" }\n')
}

/**
 * Source of a module in place of a built-in: reads of exports that nothing imports are dropped.
 * @param {string} name
 */
function reads(name) {
  const keys = Object.keys(process.getBuiltinModule(name)).filter((key) => IDENTIFIER.test(key))
  return [
    `const all = process.getBuiltinModule(${JSON.stringify(name)})`,
    'export { all as default }',
    ...keys.map((key) => `const its_${key} = /* @__PURE__ */ (() => all.${key})()`),
    `export { ${keys.map((key) => `its_${key} as ${key}`).join(', ')} }`,
  ].join('\n')
}
