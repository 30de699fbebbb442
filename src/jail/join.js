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
import { createRequire } from 'node:module'
import path from 'node:path'
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
/** Binding of isolated-vm in a wall of whole programs, as source text (src/jail/whole-guests.ts). */
const OWN_NATIVE = `'/opt/mayfly/native/isolated-vm.node'`
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
 * Loads the native binding of isolated-vm by its path. The package searches for it at each start, which takes twice as
 * long as the load.
 * @param {() => string} contents of the module in its place @returns {import('esbuild').Plugin}
 */
const isolatedVm = (contents) => ({
  name: 'isolated-vm',
  setup({ onResolve, onLoad }) {
    const filter = /^isolated-vm$/
    onResolve({ filter }, ({ path, namespace }) =>
      namespace === 'native' ? { path, external: true } : { path, namespace: 'native' },
    )
    onLoad({ filter, namespace: 'native' }, () => ({ contents: contents() }))
  },
})

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
    plugins: [builtins, isolatedVm(isPacked ? loadsPacked : loadsHere)],
    logLevel: 'silent',
  })
  cpSync(path.join(guest, 'realm'), path.join(into, 'guest/realm'), { recursive: true })
  writeFileSync(path.join(into, 'guest/package.json'), '{ "type": "module" }\n')
}

/** Source of a module that loads the file for this machine. */
function loadsHere() {
  const main = createRequire(import.meta.url).resolve('isolated-vm')
  const file = createRequire(main)('node-gyp-build').path(path.dirname(main))
  return `import { createRequire } from 'node:module'
import { existsSync } from 'node:fs'
const file = existsSync(${OWN_NATIVE}) ? ${OWN_NATIVE} : ${JSON.stringify(file)}
export default createRequire(import.meta.url)(file).ivm`
}

/** Source of a module that loads the binding of the platform's package, or else the one of the package itself. */
function loadsPacked() {
  return `import { createRequire } from 'node:module'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
const require = createRequire(import.meta.url)
const name = 'isolated-vm-' + process.platform + '-' + process.arch + '.node'
const packed = fileURLToPath(new URL('../../native/' + name, import.meta.url))
const file = existsSync(${OWN_NATIVE}) ? ${OWN_NATIVE} : packed
export default (existsSync(file) ? require(file) : { ivm: require('isolated-vm') }).ivm`
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
