import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import process from 'node:process'
import { dyingWithParent } from '../src/lib/own-node.js'

/**
 * Runs the program with inherited streams, forwards signals, and exits with its status.
 *
 * @param {string} program
 * @param {readonly string[]} args
 */
export function stayAsParent(program, args) {
  const [command, ...rest] = dyingWithParent([program, ...args])
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
