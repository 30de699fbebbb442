/**
 * Loads an entry of the package for applications: a module of the sources, which Node 26 runs as they are, or in an installed
 * package the file made of it, for Node 26 or for an older one. Plain JavaScript that older Nodes can parse.
 */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const nodeMajorMin = 26
const isCheckout = existsSync(new URL('../src/index.ts', import.meta.url))
const isOlder = Number(process.versions.node.split('.')[0]) < nodeMajorMin

/**
 * In an older Node the road runs in a process of its own, under the Node that Mayfly brings. Throws Error where that cannot be.
 *
 * @param {string} module place of its source
 */
export function load(module) {
  const why = whyNot()
  if (why) throw new Error(`Cannot load the library of Mayfly in ${why}`)
  if (isCheckout) return require(`../${module}`)
  const made = module.replace(/^src\//, '').replace(/\.ts$/, '.js')
  return require(isOlder ? `../dist/older/${made.replaceAll('/', '-')}` : `../dist/${made}`)
}

function whyNot() {
  const runtime = process.versions.bun ? 'Bun' : globalThis.Deno ? 'Deno' : undefined
  if (runtime)
    return (
      `${runtime}: it needs Node 20.19 or newer. ` +
      'Start "mayfly serve", and import "mayfly/client", which runs here too'
    )
  if (!isCheckout || !isOlder) return undefined
  return (
    `Node ${process.versions.node} from a checkout, whose sources need Node ${nodeMajorMin}. ` +
    'Install what "npm pack" makes of it, which runs on Node 20.19 and newer'
  )
}
