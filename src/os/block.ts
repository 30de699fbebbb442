import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import path from 'node:path'

/** The disk that a place lies on, as `major:minor`, not its partition; undefined where it lies on none. */
export function diskOf(place: string, sys = '/sys/dev/block'): string | undefined {
  try {
    const { dev } = statSync(place)
    const link = path.join(sys, nameOf(dev))
    if (!existsSync(link)) return undefined
    const folder = realpathSync(link)
    const whole = existsSync(path.join(folder, 'partition')) ? path.dirname(folder) : folder
    return readFileSync(path.join(whole, 'dev'), 'utf8').trim()
  } catch {
    return undefined
  }
}

/** As glibc packs them: twelve bits of minor lie above the major's twelve. */
export function nameOf(dev: number): string {
  const big = BigInt(dev)
  const major = ((big >> 8n) & 0xfffn) | ((big >> 32n) & 0xfffff000n)
  const minor = (big & 0xffn) | ((big >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}
