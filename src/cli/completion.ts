import type { Command, Option } from 'commander'
import { shellQuoted } from '../lib/shell-word.ts'
import { printJson, type Globals } from './print.ts'

/** Runs after `main.ts` has registered every verb, from which the script is generated. */
export function register(program: Command): void {
  const command = program.command('completion')
  command
    .description('print a shell script that completes commands and options')
    .addArgument(command.createArgument('<shell>', 'the shell').choices(Object.keys(scripts)))
    .addHelpText('after', examples)
    .action((shell: keyof typeof scripts) => {
      const script = scripts[shell](placesOf(program))
      if (program.opts<Globals>().json) printJson({ shell, script })
      else process.stdout.write(script)
    })
}

const examples = `
Examples:
  mayfly completion bash > ~/.local/share/bash-completion/completions/mayfly
  mayfly completion zsh > "\${fpath[1]}/_mayfly"
  mayfly completion fish > ~/.config/fish/completions/mayfly.fish`

/** Command and its completions. */
interface CompletionNode {
  /** Command line up to this node: `mayfly audit list`. */
  readonly at: string
  readonly words: readonly Described[]
  readonly flags: readonly Flag[]
}

interface Described {
  readonly name: string
  readonly about: string
}

interface Flag extends Described {
  /** True if the next word is the option's value. */
  readonly takes: boolean
}

function placesOf(command: Command, before = ''): readonly CompletionNode[] {
  const at = `${before}${command.name()}`
  const help = command.createHelp()
  const below = help
    .visibleCommands(command)
    .map((one) => ({ name: one.name(), about: one.description() }))
  const choices = command.registeredArguments.flatMap(({ argChoices = [], description }) =>
    argChoices.map((name) => ({ name, about: description })),
  )
  const options = [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)]
  const flags = options.flatMap(flagsOf)
  const here = { at, words: [...below, ...choices], flags }
  return [here, ...command.commands.flatMap((one) => placesOf(one, `${at} `))]
}

function flagsOf({ short, long, required, optional, description }: Option): readonly Flag[] {
  const names = [short, long].filter((name) => name !== undefined)
  return names.map((name) => ({ name, about: description, takes: required || optional }))
}

const scripts = { bash, zsh, fish } as const

/** Completion script of bash; other arguments are completed as file names, the shell's default. */
function bash(places: readonly CompletionNode[]): string {
  return `# Completes mayfly in bash
_mayfly() {
  local at=mayfly current=\${COMP_WORDS[COMP_CWORD]} words= flags= i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$at \${COMP_WORDS[i]}" in
      ${alternatives(deeper(places))}) at="$at \${COMP_WORDS[i]}" ;;
      ${alternatives(taking(places))}) ((++i < COMP_CWORD)) || return 0 ;;
    esac
  done
  case "$at" in
${places
  .map(
    ({ at, words, flags }) =>
      `    ${shellQuoted(at)}) words=${shellQuoted(namesOf(words))} flags=${shellQuoted(namesOf(flags))} ;;`,
  )
  .join('\n')}
  esac
  if [[ $current == -* ]]; then words=$flags; fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o default -F _mayfly mayfly
`
}

function zsh(places: readonly CompletionNode[]): string {
  return `#compdef mayfly
_mayfly() {
  local at=mayfly i
  local -a commands flags
  for ((i = 2; i < CURRENT; i++)); do
    case "$at $words[i]" in
      ${alternatives(deeper(places))}) at="$at $words[i]" ;;
      ${alternatives(taking(places))}) if ((++i == CURRENT)); then _files; return; fi ;;
    esac
  done
  case "$at" in
${places
  .map(
    ({ at, words, flags }) =>
      `    ${shellQuoted(at)}) commands=(${describedIn(words)}) flags=(${describedIn(flags)}) ;;`,
  )
  .join('\n')}
  esac
  if [[ $words[CURRENT] == -* ]]; then _describe -o option flags
  elif (($#commands)); then _describe command commands
  else _files; fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _mayfly "$@"; else compdef _mayfly mayfly; fi
`
}

function fish(places: readonly CompletionNode[]): string {
  return `# Completes mayfly in fish
function __mayfly_at
    set -l at ''
    set -l skip no
    for word in (commandline -opc)
        if test -z "$at"
            set at mayfly
            continue
        end
        if test $skip = yes
            set skip no
            continue
        end
        switch "$at $word"
            case ${deeper(places).map(shellQuoted).join(' ')}
                set at "$at $word"
            case ${taking(places).map(shellQuoted).join(' ')}
                set skip yes
        end
    end
    test "$at" = "$argv"
end
${places.flatMap(fishLines).join('\n')}
`
}

function fishLines({ at, words, flags }: CompletionNode): readonly string[] {
  const here = `complete -c mayfly -n ${shellQuoted(`__mayfly_at ${at}`)}`
  return [
    ...words.map(({ name, about }) => `${here} -f -a ${name} -d ${fishQuoted(about)}`),
    ...flags.map(({ name, about, takes }) => {
      const flag = name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`
      return `${here} ${flag}${takes ? ' -r' : ''} -d ${fishQuoted(about)}`
    }),
  ]
}

/** All commands except the program itself. */
function deeper(places: readonly CompletionNode[]): readonly string[] {
  return places.slice(1).map(({ at }) => at)
}

/** All options with a value, prefixed by their command. */
function taking(places: readonly CompletionNode[]): readonly string[] {
  return places.flatMap(({ at, flags }) =>
    flags.filter(({ takes }) => takes).map(({ name }) => `${at} ${name}`),
  )
}

function alternatives(texts: readonly string[]): string {
  return texts.map(shellQuoted).join('|')
}

function namesOf(all: readonly Described[]): string {
  return all.map(({ name }) => name).join(' ')
}

function describedIn(all: readonly Described[]): string {
  return all
    .map(({ name, about }) => shellQuoted(`${name.replaceAll(':', '\\:')}:${about}`))
    .join(' ')
}

/** Inside fish quotes, backslashes and quotes are escaped. */
function fishQuoted(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", `\\'`)}'`
}
