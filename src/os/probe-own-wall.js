/** Attempts of a guest's own process against its wall, before any job: what the proof of a wall asks for. */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import { connectOnLoopback, probeFilter, readArguments } from './libc.js'

/** Port of the service "discard", at which hardly any machine listens: outside of a wall the answer is ECONNREFUSED. */
const DISCARD_PORT = 9

/**
 * Tries what the wall refuses; returns for each attempt the name of its errno, or `allowed`.
 * @param {'worker' | 'process'} [policy] of the filter, where there is one
 * @returns {Record<string, string>}
 */
export function probeOwnWall(policy) {
  return process.platform === 'darwin' ? probeSeatbelt() : probeFilter(policy)
}

/**
 * Attempts at files, sockets and other processes, each of which has another result outside of a profile of Seatbelt, which
 * refuses with EPERM. Arguments of a process come with its environment.
 * @returns {Record<string, string>}
 */
export function probeSeatbelt() {
  return {
    read: codeAt('/etc/passwd', (file) => fs.closeSync(fs.openSync(file, 'r'))),
    write: codeAt(`/tmp/mayfly-probe-${process.pid}`, (file) => {
      fs.writeFileSync(file, '', { flag: 'wx' })
      fs.unlinkSync(file)
    }),
    connect: codeOf(() => connectOnLoopback(DISCARD_PORT)),
    child: codeOf(() => {
      // The one program that a profile lets it exec.
      const { error } = spawnSync(process.execPath, ['--version'], { stdio: 'ignore' })
      if (error) throw error
    }),
    signal: codeOf(() => process.kill(process.ppid, 0)),
    arguments: codeOf(() => readArguments(process.ppid)),
  }
}

/**
 * /etc and /tmp are links on macOS: a refusal to follow a link says nothing about the file behind it.
 * @param {string} file @param {(file: string) => void} act
 */
function codeAt(file, act) {
  const code = codeOf(() => act(`/private${file}`))
  return code === 'ENOENT' ? codeOf(() => act(file)) : code
}

/** @param {() => void} act @returns {string} */
function codeOf(act) {
  try {
    act()
    return 'allowed'
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code ?? String(error)
  }
}
