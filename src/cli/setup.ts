import { constants } from 'node:fs'
import { userInfo } from 'node:os'
import path from 'node:path'
import { Option, type Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { mayAccess } from '../lib/may-access.ts'
import { ownFolders } from '../lib/own-path.ts'
import { deploymentFile, deploymentFileNames, type DeploymentFileName } from './deployment-files.ts'
import { ownProgram } from './own-command.ts'
import { note, paint, printJson, printText, type Globals } from './print.ts'
import { setupSteps, type SetupAction, type SetupStep } from './setup-steps.ts'

interface SetupFlags extends Globals {
  readonly apply?: true
  readonly yes?: true
  readonly user?: string
  readonly print?: DeploymentFileName
}

export function register(program: Command): void {
  program
    .command('setup')
    .description('print the one-time steps that give this machine stronger walls')
    .option('--apply', 'perform the steps that can be automated; needs root')
    .option('--yes', 'skip the confirmation')
    .option('--user <name>', 'the user that Mayfly will run as')
    .addOption(
      new Option('--print <file>', 'print a file for a deployment, and nothing else').choices(
        deploymentFileNames,
      ),
    )
    .action(async (_own, command: Command) => {
      const flags = command.optsWithGlobals<SetupFlags>()
      if (flags.print) return printFile(flags.print, flags)
      const user = flags.user ?? process.env['SUDO_USER'] ?? ownName()
      const steps = setupSteps({
        user,
        node: process.execPath,
        hasProgram: isOnPath,
      })
      if (flags.json) printJson({ user, steps })
      else printText(setupText(steps))
      if (flags.apply) await applySteps(steps, flags)
    })
}

/** Prints a file of a deployment, with the paths of this installation. */
function printFile(name: DeploymentFileName, flags: SetupFlags): void {
  const [state, config] = [flags.state, flags.config].map((one) => one && path.resolve(one))
  const { execPath: node } = process
  const text = deploymentFile(name, { node, program: ownProgram, state, config, user: flags.user })
  if (flags.json) printJson({ name, text })
  else process.stdout.write(text)
  if (name === 'systemd' && ownProgram.includes('/_npx/'))
    note(
      flags,
      'Warning: this copy is in the cache of npx: install Mayfly, and print the unit again',
    )
}

/** Name of this user, or its uid if no account has it, as is possible in a container. */
function ownName(): string {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? '')
  }
}

/** Performs the open steps. Throws MayflyError USAGE without root or without confirmation. */
async function applySteps(steps: readonly SetupStep[], flags: SetupFlags): Promise<void> {
  const wanted = steps.filter(({ isDone, actions }) => !isDone && actions.length > 0)
  if (wanted.length === 0) return note(flags, 'No automated steps remain')
  if (process.getuid?.() !== 0)
    throw new MayflyError('USAGE', 'Cannot set up this machine as an ordinary user', {
      hint: 'Run it as root: sudo mayfly setup --apply',
    })
  if (!flags.yes && !(await isConfirmed(wanted.length)))
    throw new MayflyError('USAGE', 'Cannot set up this machine: not confirmed', {
      hint: 'Answer "yes", or give --yes',
    })
  const { carryOutStep } = await import('./setup-actions.ts')
  for (const { name, actions, undo } of wanted) {
    for (const done of carryOutStep(actions)) note(flags, `${name}: ${done}`)
    note(flags, `${name}: undo by: ${undo}`)
  }
}

async function isConfirmed(count: number): Promise<boolean> {
  if (!process.stdin.isTTY) return false
  const { createInterface } = await import('node:readline/promises')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await lines.question(`Perform these ${count} steps now? (yes/no) `)
  lines.close()
  return answer.trim() === 'yes'
}

function isOnPath(name: string): boolean {
  const folders = [...ownFolders(), '/usr/sbin', '/sbin']
  return folders.some((folder) => mayAccess(path.join(folder, name), constants.X_OK))
}

function setupText(steps: readonly SetupStep[]): string {
  const rest = 'For walls with a kernel of their own, see "mayfly providers"'
  return [...steps.flatMap(stepText), rest].join('\n')
}

function stepText({ name, why, isDone, actions, byHand, undo }: SetupStep): readonly string[] {
  if (isDone) return [`${paint('green', '✓')} ${name}`]
  const how = actions.length > 0 ? actions.map(actionText) : [byHand ?? '']
  return [
    `${paint('yellow', '·')} ${paint('bold', name)}: ${why}`,
    ...how.map((line) => `    ${line}`),
    `    undo: ${undo}`,
  ]
}

function actionText(action: SetupAction): string {
  if (action.kind === 'run') return action.words.join(' ')
  return `write ${action.path}:\n${action.text.trimEnd().replaceAll(/^/gm, '      ')}`
}
