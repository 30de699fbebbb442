/** Runs a shell script with the job's own descriptors; its exit ends the job. */
import path from 'node:path'

/**
 * Part of a job that a shell needs.
 * @typedef {{
 *   task: {
 *     language: string, code: string, args?: string[], files: readonly { path: string, executable?: boolean }[],
 *   },
 *   main: string, release(): void, fail(error: unknown): void, exit(code: number, signal?: string): void,
 * }} ShellJob
 */

const SHELLS = /** @type {Record<string, string>} */ ({ sh: '/bin/sh', bash: '/bin/bash' })
const NAMES = /** @type {Record<string, string[]>} */ ({
  sh: ['sh', 'dash', 'ash'],
  bash: ['bash'],
})
const SHEBANG = /^#![ \t]*(\S+)[ \t]*(.*?)[ \t\r]*(?:\n|$)/
const SHEBANG_CHARS_MAX = 255
const SIGNALLED = 128

/** @param {string} language */
export function isShell(language) {
  return language in SHELLS
}

/**
 * `$0` is its path relative to the working folder: `FILE` as in `bash FILE`, and `./FILE` if the shell would take it for an
 * option, or if the job sent it as executable, because such a script may re-execute itself.
 * @param {ShellJob} job @param {string} main
 */
export function runShell(job, main) {
  const { language, code, args = [], files } = job.task
  const name = path.relative('', main)
  const isExecutable = files.some((one) => one.executable && path.normalize(one.path) === name)
  const file = SHELLS[language] ?? '/bin/sh'
  const isMarked = isExecutable || /^[-+]/.test(name)
  const words = [...optionsOf(code, language), isMarked ? `./${name}` : name, ...args]
  // Loaded lazily: it loads Node's sockets and streams.
  const { spawn } = process.getBuiltinModule('node:child_process')
  job.main = main
  job.release()
  const child = spawn(file, words, { stdio: [0, 1, 2, 3] })
  child.once('error', (error) => job.fail(error))
  child.once('exit', (code, signal) => {
    if (signal) job.exit(SIGNALLED, signal)
    else job.exit(code ?? 0)
    // Walls count limits before the exit of a program that failed.
    if (code !== 0) process.exitCode = 1
  })
}

/**
 * Shell arguments of the shebang: one word, or several after `env -S`. @param {string} code @param {string}
 * language
 */
export function optionsOf(code, language) {
  const [, file = '', rest = ''] = SHEBANG.exec(code.slice(0, SHEBANG_CHARS_MAX)) ?? []
  const names = NAMES[language] ?? []
  if (names.includes(path.basename(file))) return rest === '' ? [] : [rest]
  const words = rest.split(/[ \t]+/)
  if (path.basename(file) !== 'env' || words[0] !== '-S') return []
  return names.includes(path.basename(words[1] ?? '')) ? words.slice(2) : []
}
