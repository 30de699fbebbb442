import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(import.meta.url)

/** The folder of an installed package, wherever npm hoisted it. Throws when it is not installed. */
export function packageFolder(name: string, from: NodeJS.Require = require): string {
  const places = from.resolve.paths(`${name}/package.json`) ?? []
  const file = from.resolve(`${name}/package.json`, { paths: places })
  return path.dirname(file)
}
