/** Starts a job of a program: the same path for a real one and for the rehearsal of a warm runner. */
import { refuseCalls, runNode } from './entries.js'
import { layOut } from './ground.js'
import { finishWith } from './job.js'
import { isShell, runShell } from './shell.js'
import { knowMemory } from './stand-ins.js'

const TYPED = /\.(?:[cm]?ts|[jt]sx)$/

/**
 * @param {import('./job.js').Job} job
 * @param {import('./ground.js').Settings} settings
 * @param {{ readonly problem: unknown }} ahead has the first error of the files that were sent ahead
 */
export async function startJob(job, settings, ahead) {
  const { task } = job
  try {
    if (ahead.problem !== undefined) throw ahead.problem
    const main = layOut(task, settings)
    if (isTypeScript(task, main)) {
      const { readTypeScript } = await import('../typescript/hooks.js')
      readTypeScript({ work: settings.work ?? '/', main, isTyped: task.typed === true })
    }
    if (isShell(task.language) && task.calls !== undefined) refuseCalls(job)
    else if (isShell(task.language)) runShell(job, main)
    else {
      knowMemory(task.memoryBytes)
      runNode(job, main)
    }
  } catch (error) {
    finishWith(job, error)
  }
}

/**
 * True if any file of the job may need transpilation. @param {import('./ground.js').Task} task @param {string}
 * main
 */
export function isTypeScript({ language, typed, files }, main) {
  if (language !== 'node') return false
  return typed === true || TYPED.test(main) || files.some(({ path }) => TYPED.test(path))
}
