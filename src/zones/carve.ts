import { sha256 } from '../lib/hash.ts'
import { readFileSync } from 'node:fs'
import type { Entry } from '../contract/job.ts'
import type { ProgramZone, ZoneSplit, ZoneCode } from '../contract/zones.ts'
import { MayflyError } from '../contract/error.ts'

/** Source of one zone: the user's code with all other parts blanked out, plus a generated last line. */
export interface CarvedSource {
  readonly code: string
  readonly entry: Entry
}

export interface CarveInput {
  readonly code: string
  readonly entry: Entry
}

/** Source of `main`: the code without its zones, whose names become stubs that call through channels. */
export function carveMain({ code, entry }: CarveInput, { zones, calls }: ZoneSplit): CarvedSource {
  assertPlaces(code, zones)
  const wire = freeName(code)
  const stubs = calls.map((name) => stub(name, wire)).join('')
  const kept = without(
    code,
    zones.map(({ cut }) => cut),
  )
  return { code: `${kept}\n;${wireText(wire)}${stubs}`, entry }
}

/** Source of one zone, its parts at their original positions, so that stack traces keep the user's line numbers. */
export function carveZone({ code, entry }: CarveInput, zone: ProgramZone): CarvedSource {
  assertPlaces(code, [zone])
  const wire = freeName(code)
  const stubs = zone.calls.map((name) => stub(name, wire)).join('')
  const kept = onlyIn(code, zone.keep)
  const served = `${wire}().serve(${zone.name})`
  const last = entry === 'module' ? `export default()=>${served};` : `return await ${served};`
  const text = `${kept}\n;${wireText(wire)}${stubs}${last}`
  return { code: text, entry: entry === 'module' ? 'module' : 'body' }
}

/** Part of the source in each zone, `main` first; the rest is blanked out. */
export function zoneSources(
  code: string,
  { zones }: Pick<ZoneSplit, 'zones'>,
): readonly ZoneCode[] {
  assertPlaces(code, zones)
  const cuts = zones.map(({ cut }) => cut)
  return [
    { zone: 'main', code: without(code, cuts) },
    ...zones.map(({ name, keep }) => ({ zone: name, code: onlyIn(code, keep) })),
  ]
}

const wire = readFileSync(new URL('../../guest/zone/wire.js', import.meta.url), 'utf8')
/** The guest's file as an expression: a function that takes `call` and opens channels. Comments are left out. */
const wireSource = `(() => {${wire.replace(/^\s*(\/\/.*|\/\*\*.*\*\/)$/gm, '').replace(/^export /m, '')}return openChannels})()`

/** Function declarations are hoisted above the user's code. */
function wireText(name: string): string {
  return `function ${name}(){return ${name}.made??=${wireSource}(call)}`
}

function stub(name: string, wire: string): string {
  return `async function ${name}(...a){return ${wire}().ask(${JSON.stringify(name)},a)}`
}

/** Name that cannot occur in the source: it contains the hash of the source. */
function freeName(code: string): string {
  return `mayflyZone${sha256(code).slice(0, 32)}`
}

/**
 * The ranges come from the analysis process, which may be compromised: check that they are ordered and within the
 * source.
 */
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

/**
 * White space of the same length, with line breaks kept and a `;` in place of the first character, so that tokens
 * around it stay apart.
 */
function blank(text: string): string {
  const white = text.replace(/[^\n\r\u2028\u2029]/g, ' ')
  const first = white.indexOf(' ')
  return first < 0 ? white : `${white.slice(0, first)};${white.slice(first + 1)}`
}
