import { createRequire } from 'node:module'
import path from 'node:path'

const require = createRequire(import.meta.url)

/** Folder of an installed package, also if npm hoisted it. Throws if it is not installed. */
export function packageFolder(name: string, from: NodeJS.Require = require): string {
  const places = from.resolve.paths(`${name}/package.json`) ?? []
  const file = from.resolve(`${name}/package.json`, { paths: places })
  return path.dirname(file)
}

/** Package with the native binding for this machine's C library. Throws if none is installed. */
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
