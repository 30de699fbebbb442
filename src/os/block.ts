import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'

/** Block device of a path as `major:minor`: the disk, not its partition; undefined without one (tmpfs, overlay). */
export function diskOf(place: string, sys = '/sys/dev/block'): string | undefined {
  try {
    const { dev } = statSync(place)
    const link = path.join(sys, deviceNameOf(dev))
    if (!existsSync(link)) return undefined
    const folder = realpathSync(link)
    const whole = existsSync(path.join(folder, 'partition')) ? path.dirname(folder) : folder
    return readFileSync(path.join(whole, 'dev'), 'utf8').trim()
  } catch {
    return undefined
  }
}

/** Splits a dev_t into major and minor, as `gnu_dev_major` and `gnu_dev_minor` of glibc do. */
export function deviceNameOf(dev: number): string {
  const big = BigInt(dev)
  const major = ((big >> 8n) & 0xfffn) | ((big >> 32n) & 0xfffff000n)
  const minor = (big & 0xffn) | ((big >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}
