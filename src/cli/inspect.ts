import type { Command } from 'commander'
import { MayflyError } from '../contract/error.ts'
import { languages } from '../contract/job.ts'
import { namedTiers } from '../contract/tier.ts'
import { sanitise } from '../output/sanitise.ts'
import { parseLanguage, parseWord } from './option-values.ts'
import { note, printJson, printText } from './print.ts'
import type { InspectFlags } from './inspect-runs.ts'
import { inspectionVerdicts, type InspectReport } from './inspection.ts'

const failOnWords = ['suspicious', 'malicious'] as const
const failedExitCode = 3

export function register(program: Command): void {
  program
    .command('inspect')
    .description('find out what a suspect script or package does, and report it')
    .argument('<target>', 'a program, a folder, or an archive: .tgz, .tar.gz, .tar, .whl, .zip')
    .option('--language <name>', `one of ${languages.join(' ')}`, parseLanguage)
    .option(
      '--tier <tier>',
      'run it once, behind this tier; default: behind the strongest here, and again where files and programs are seen',
      parseWord('tier', namedTiers),
    )
    .option('--timeout <time>', 'time of each run', '20s')
    .option('--html <file>', 'write the report as a page; - writes to stdout')
    .option(
      '--fail-on <verdict>',
      'exit 3 if the verdict is this or worse: suspicious or malicious',
      parseWord('verdict', failOnWords),
    )
    .addHelpText(
      'after',
      `
The target runs with planted credentials, a stubbed internet and a record of what it opens, starts, asks for and leaves
behind. Nothing it sends leaves this machine. "unremarkable" means that nothing was seen, not that it is harmless.

Examples:
  mayfly inspect installer.sh
  mayfly inspect left-pad-1.3.0.tgz --html report.html
  mayfly inspect ./package --json`,
    )
    .action(async (target: string, _own, command: Command) => {
      await inspect(target, command.optsWithGlobals<InspectFlags>())
    })
}

async function inspect(target: string, flags: InspectFlags): Promise<void> {
  if (flags.json && flags.html === '-')
    throw new MayflyError('USAGE', 'Cannot print both JSON and a page on stdout', {
      hint: 'Name a file: --html report.html',
    })
  const { openOutputFile } = await import('./picture-file.ts')
  const { html } = flags
  await using page = html === undefined ? undefined : await openOutputFile(html, 'the report')
  const { runInspection } = await import('./inspect-runs.ts')
  const inspection = await runInspection(target, flags, (text) => note(flags, sanitise(text)))
  if (page) {
    const { inspectionPage } = await import('./inspect-page.ts')
    await page.write(inspectionPage(inspection))
  }
  if (flags.json) printJson(inspection)
  else if (html !== '-') {
    const { inspectionText } = await import('./inspect-text.ts')
    printText(inspectionText(inspection))
  }
  process.exitCode = exitCodeFor(inspection, flags)
}

/** 7 where no run reached a wall, as for a job; 3 by `--fail-on`. */
function exitCodeFor({ verdict, runs }: InspectReport, { failOn }: InspectFlags): number {
  if (failOn && inspectionVerdicts.indexOf(verdict) >= inspectionVerdicts.indexOf(failOn))
    return failedExitCode
  return runs.length > 0 && runs.every(({ status }) => status === 'unavailable') ? 7 : 0
}
