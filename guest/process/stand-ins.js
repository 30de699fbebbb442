/** Replacements for functions of Node that do not work in a wall, for programs of a job and cells of a session. */
import os from 'node:os'

/** Replaces os.networkInterfaces: the wall has no netlink to query them, and has only `lo`. */
export function knowInterfaces() {
  const mac = '00:00:00:00:00:00'
  const own = { internal: true, mac }
  const lo = [
    { address: '127.0.0.1', netmask: '255.0.0.0', family: 'IPv4', cidr: '127.0.0.1/8', ...own },
  ]
  os.networkInterfaces = () => ({ lo: structuredClone(lo) })
}

/** Writes synchronously, so that a job that exits at once loses no output. */
export function writeSynchronously() {
  for (const name of /** @type {const} */ (['stdout', 'stderr'])) writeWhole(name)
}

/** @param {'stdout' | 'stderr'} name */
function writeWhole(name) {
  const own = Object.getOwnPropertyDescriptor(process, name)
  const get = () => {
    const stream = own?.get?.call(process)
    stream._handle?.setBlocking?.(true)
    return stream
  }
  Object.defineProperty(process, name, { ...own, get })
}
