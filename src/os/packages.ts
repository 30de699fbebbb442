import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(import.meta.url)

/** The folder of an installed package, wherever npm hoisted it. Throws when it is not installed. */
export function packageFolder(name: string, from: NodeJS.Require = require): string {
  const places = from.resolve.paths(`${name}/package.json`) ?? []
  const file = from.resolve(`${name}/package.json`, { paths: places })
  return path.dirname(file)
}

/** The package of a native half, for the C library here. Throws when it is not installed. */
export function bindingOf(prefix: string): string {
  const plain = `${prefix}-${process.platform}-${process.arch}`
  for (const name of [`${plain}-gnu`, `${plain}-musl`, plain]) {
    try {
      packageFolder(name)
      return name
    } catch {
      // Not the one for this machine.
    }
  }
  throw new Error(`Cannot find "${prefix}" for ${process.platform} ${process.arch}`)
}
