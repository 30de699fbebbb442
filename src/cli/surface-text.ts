import { sanitiseLine } from '../output/sanitise.ts'
import type { Surface } from '../profile/surface.ts'
import { formatValue } from './format-value.ts'

/** Formats a paragraph per phase: what it reaches, and what it lost since the phase before. */
export function surfaceText(surfaces: readonly Surface[]): string {
  const paragraphs = surfaces.map((surface, place) => paragraphOf(surface, surfaces[place - 1]))
  return [...paragraphs, `${seconds(surfaces.at(-1)?.to ?? 0)}: nothing; the life is over`].join(
    '\n',
  )
}

function paragraphOf(surface: Surface, before: Surface | undefined): string {
  const { phase, from, to, network, files, capabilities, limits, calls } = surface
  const closed = calls.closed.length > 0 ? `; closed: ${calls.closed.join(', ')}` : ''
  const some = calls.restricted > 0 ? `, ${calls.restricted} of them in part` : ''
  const unheld = `${calls.unheld.join(', ')}: without a sentinel the job is terminated here`
  const rows: readonly (readonly [string, string])[] = [
    ['hosts', hostsText(network)],
    ['folders', foldersText(files)],
    ['capabilities', capabilities === 'any' ? 'any' : capabilities.join(', ') || 'none'],
    ['system calls', `${calls.reachable}${some}${closed}`],
    ...(calls.unheld.length > 0 ? [['not enforced', unheld] as const] : []),
    ...Object.entries(limits).map(([name, value]) => [name, limitText(name, value)] as const),
  ]
  const lines = rows.map(([name, text]) => `  ${name.padEnd(12)}  ${sanitiseLine(text)}`)
  const gone = before ? callsGone(before, surface) : ''
  return [
    `${sanitiseLine(phase)}: ${seconds(from)} to ${seconds(to)}`,
    ...lines,
    ...(gone ? [`  ${gone}`] : []),
  ].join('\n')
}

function callsGone(before: Surface, now: Surface): string {
  const gone = Object.keys(before.calls.of).filter((name) => !(name in now.calls.of))
  const less = Object.entries(now.calls.of).filter(
    ([name, words]) => words.length > (before.calls.of[name]?.length ?? words.length),
  )
  return [
    ...(gone.length > 0 ? [`gone: ${gone.join(' ')}`] : []),
    ...less.map(([name, words]) => `${name}: only ${words.join(', ')}`),
  ].join('\n  ')
}

function hostsText({ allow, deny, sent, received }: Surface['network']): string {
  const hosts = allow === 'any' ? 'every public address' : allow.join(', ') || 'none'
  const but = deny.length > 0 ? `, but ${deny.join(', ')}` : ''
  const bytes = Object.entries({ sent, received }).flatMap(([name, most]) =>
    most === undefined ? [] : [`; ${formatValue('bytes', most)} ${name} at most`],
  )
  return `${hosts}${but}${bytes.join('')}`
}

/** Granted host folders, besides the wall's own scratch. */
function foldersText({ read, write }: Surface['files']): string {
  if (read.length + write.length === 0) return 'private scratch only'
  return `read ${read.join(', ') || 'none'}; write ${write.join(', ') || 'none'}`
}

function limitText(name: string, value: number): string {
  return value === Number.MAX_SAFE_INTEGER
    ? 'no limit'
    : formatValue(name === 'io' ? 'bytes' : name, value)
}

function seconds(ms: number): string {
  return `${ms / 1000} s`
}
