/**
 * Joins the modules of each jailed program into one file.
 *
 * Problem. A program of a wall loads some twenty small modules before it is ready, and Node resolves, reads and links
 * each; an `import` of a built-in also reads all of its exports, and some of these load more. Together that is half of
 * what a plain start of Node costs.
 *
 * Mechanism. esbuild joins the modules; packages with a native half stay outside. Built-ins come from
 * `process.getBuiltinModule`, and an imported name is read once, at load, as by `import`: a job that replaces it later
 * changes nothing here.
 *
 * Relies on the layout of `guest/`: the realm's sources lie one folder above the joined file of the isolate worker.
 */
import { cpSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { build } from 'esbuild'

const PROGRAMS = ['analyst.js', 'isolate-worker.js', 'process/node.js', 'wasm-worker.js']
const NATIVE = ['isolated-vm', 'oxc-parser', 'oxc-transform']
const IDENTIFIER = /^[A-Za-z_$][\w$]*$/

/** @type {import('esbuild').Plugin} */
const builtins = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^node:/ }, ({ path, kind }) =>
      kind === 'dynamic-import' ? { path, external: true } : { path, namespace: 'builtin' },
    )
    onLoad({ filter: /./, namespace: 'builtin' }, ({ path }) => ({ contents: reads(path) }))
  },
}

/**
 * Writes the joined programs of the tree at `root` below `into`, at the same places. Rejects where a module does not parse.
 * @param {string} root @param {string} into @returns {Promise<void>}
 */
export async function joinPrograms(root, into) {
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
    // A tree that is being packed has no packages of its own.
    nodePaths: [path.join(import.meta.dirname, '../../node_modules')],
    plugins: [builtins],
    logLevel: 'silent',
  })
  cpSync(path.join(guest, 'realm'), path.join(into, 'realm'), { recursive: true })
  writeFileSync(path.join(into, 'guest/package.json'), '{ "type": "module" }\n')
}

/** Source of a module in place of a built-in: reads of exports that nothing imports are dropped. @param {string} name */
function reads(name) {
  const keys = Object.keys(process.getBuiltinModule(name)).filter((key) => IDENTIFIER.test(key))
  return [
    `const all = process.getBuiltinModule(${JSON.stringify(name)})`,
    'export { all as default }',
    ...keys.map((key) => `const its_${key} = /* @__PURE__ */ (() => all.${key})()`),
    `export { ${keys.map((key) => `its_${key} as ${key}`).join(', ')} }`,
  ].join('\n')
}
