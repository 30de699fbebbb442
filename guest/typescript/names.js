/**
 * CommonJS names for an ES module written for the compiler's CommonJS output: TypeScript that imports, and uses
 * `__dirname` or `require.main`.
 * @param {string} url of the module that asks @param {boolean} isMain
 */
export function namesOf(url, isMain) {
  return `
import { createRequire } from 'node:module'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
export const __filename = fileURLToPath(${JSON.stringify(url)})
export const __dirname = dirname(__filename)
export const module = { id: ${isMain ? "'.'" : '__filename'}, filename: __filename, path: __dirname, exports: {}, loaded: false }
export const { exports } = module
const own = createRequire(__filename)
export const require = Object.assign((name) => own(name), own, ${isMain ? '{ main: module }' : '{}'})
`
}
