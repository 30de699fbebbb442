import { sha256 } from '../lib/hash.ts'
import { readFileSync } from 'node:fs'
import type { Entry } from '../contract/job.ts'
import type { ProgramZone, ZoneSplit, ZoneCode } from '../contract/zones.ts'
import { MayflyError } from '../contract/error.ts'

/** One zone's program: the user's own source with all else of it blanked out, and a last line of ours. */
export interface Carved {
  readonly code: string
  readonly entry: Entry
}

export interface Program {
  readonly code: string
  readonly entry: Entry
}

/** What stays, `main`: the source without its zones, which answer to the same names by way of their channels. */
export function carveMain({ code, entry }: Program, { zones, calls }: ZoneSplit): Carved {
  assertPlaces(code, zones)
  const wire = freeName(code)
  const stubs = calls.map((name) => stub(name, wire)).join('')
  const kept = without(
    code,
    zones.map(({ cut }) => cut),
  )
  return { code: `${kept}\n;${wireText(wire)}${stubs}`, entry }
}

/** One zone: what it is made of at its place, so that positions are those of the user's source. */
export function carveZone({ code, entry }: Program, zone: ProgramZone): Carved {
  assertPlaces(code, [zone])
  const wire = freeName(code)
  const stubs = zone.calls.map((name) => stub(name, wire)).join('')
  const kept = onlyIn(code, zone.keep)
  const served = `${wire}().serve(${zone.name})`
  const last = entry === 'module' ? `export default()=>${served};` : `return await ${served};`
  const text = `${kept}\n;${wireText(wire)}${stubs}${last}`
  return { code: text, entry: entry === 'module' ? 'module' : 'body' }
}

/** Which part of a source each zone has, `main` first: all else is white space. */
export function assigned(code: string, { zones }: Pick<ZoneSplit, 'zones'>): readonly ZoneCode[] {
  assertPlaces(code, zones)
  const cuts = zones.map(({ cut }) => cut)
  return [
    { zone: 'main', code: without(code, cuts) },
    ...zones.map(({ name, keep }) => ({ zone: name, code: onlyIn(code, keep) })),
  ]
}

const wire = readFileSync(new URL('../../guest/zone/wire.js', import.meta.url), 'utf8')
const marker = 'export default '
/** The function that a guest's file exports, as one line without comments. */
const wireSource = wire
  .slice(wire.indexOf(marker) + marker.length)
  .replace(/^\s*\/\*\*.*\*\/$/gm, '')
  .trim()

/** A function is there before anything of the program runs. */
function wireText(name: string): string {
  return `function ${name}(){return ${name}.made??=(${wireSource})(call)}`
}

function stub(name: string, wire: string): string {
  return `async function ${name}(...a){return ${wire}().ask(${JSON.stringify(name)},a)}`
}

/** A name that the source has nowhere, however it writes it: it would have to hold its own hash. */
function freeName(code: string): string {
  return `mayflyZone${sha256(code).slice(0, 32)}`
}

/** Whoever found the places may have been broken into: they are only ever places in this source. */
function assertPlaces(code: string, zones: readonly ProgramZone[]): void {
  const isOrdered = (ranges: readonly (readonly [number, number])[]) =>
    ranges.every(
      ([from, to], index) =>
        from < to && to <= code.length && from >= (ranges[index - 1]?.[1] ?? 0),
    )
  const cuts = zones.map(({ cut }) => cut).sort(([a], [b]) => a - b)
  if (!isOrdered(cuts) || !zones.every(({ keep }) => isOrdered(keep)))
    throw new MayflyError(
      'PROTOCOL',
      'Cannot cut zones out of a source: their places are not in it',
    )
}

function without(code: string, cuts: readonly (readonly [number, number])[]): string {
  let text = ''
  let at = 0
  for (const [from, to] of [...cuts].sort(([a], [b]) => a - b)) {
    text += code.slice(at, from) + blank(code.slice(from, to))
    at = to
  }
  return text + code.slice(at)
}

function onlyIn(code: string, keep: readonly (readonly [number, number])[]): string {
  let text = ''
  let at = 0
  for (const [from, to] of keep) {
    text += blank(code.slice(at, from)) + code.slice(from, to)
    at = to
  }
  return text + blank(code.slice(at))
}

/** White space as long, line by line; what was apart stays apart. */
function blank(text: string): string {
  const white = text.replace(/[^\n\r\u2028\u2029]/g, ' ')
  const first = white.indexOf(' ')
  return first < 0 ? white : `${white.slice(0, first)};${white.slice(first + 1)}`
}
