import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import { MayflyError } from '../contract/error.ts'
import { replaceFile } from '../lib/replace-file.ts'
import { ownEnvironment } from '../lib/own-path.ts'
import type { SetupAction } from './setup-steps.ts'

/**
 * Performs the actions of a step; returns their descriptions. If one fails, the files before it are put back, because a file
 * that is there makes its step count as done. Throws as `carryOut` does.
 */
export function carryOutStep(actions: readonly SetupAction[], root = '/'): readonly string[] {
  const restorers: (() => void)[] = []
  try {
    return actions.map((action) => {
      if (action.kind === 'file') restorers.push(restorerOf(path.join(root, action.path)))
      return carryOut(action, root)
    })
  } catch (thrown) {
    for (const restore of restorers.toReversed()) restore()
    throw thrown
  }
}

function restorerOf(file: string): () => void {
  if (!existsSync(file)) return () => rmSync(file, { force: true })
  const before = readFileSync(file, 'utf8')
  return () => replaceFile(file, before, { mode: 0o644 })
}

/**
 * Performs an action of `mayfly setup`; returns a description. A file is written under a temporary name and renamed; a file
 * with the wanted content is not touched. Loaded by `mayfly setup --apply` only. Throws MayflyError UNAVAILABLE if a
 * program fails.
 */
export function carryOut(action: SetupAction, root = '/'): string {
  return action.kind === 'file'
    ? writeWhole(path.join(root, action.path), action.text)
    : runToEnd(action.words)
}

function writeWhole(file: string, text: string): string {
  if (existsSync(file) && readFileSync(file, 'utf8') === text) return `left ${file} as it is`
  mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 })
  replaceFile(file, text, { mode: 0o644 })
  return `wrote ${file}`
}

const RUN_MS_MAX = 900_000

function runToEnd([program, ...args]: readonly [string, ...string[]]): string {
  const shown = [program, ...args].join(' ')
  const { status, stderr, error } = spawnSync(program, args, {
    env: ownEnvironment(),
    stdio: ['ignore', 'ignore', 'pipe'],
    timeout: RUN_MS_MAX,
  })
  if (status === 0) return `ran ${shown}`
  const why = error?.message ?? stderr?.toString().trim().split('\n').at(-1) ?? 'it failed'
  throw new MayflyError('UNAVAILABLE', `Cannot run "${shown}": ${why}`, {
    hint: 'Mend its cause, then run "mayfly setup --apply" again, which skips completed steps',
  })
}
