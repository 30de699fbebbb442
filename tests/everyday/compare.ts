import type { Program } from './corpus.ts'
import type { EndedInside } from './inside.ts'
import type { Ended } from './outside.ts'

/** Formats with embedded times, identifiers or versions: only their magic bytes are compared. */
const unstable = /\.(?:svg|pdf|png|jpg|gif|zip|gz|tgz|tar|db|sqlite|xlsx)$/
const magicBytes = 4
const shownCharsMax = 200

/** Differences between the end inside and outside; empty if equal. */
export function differences(program: Program, outside: Ended, inside: EndedInside): string[] {
  return [
    ...ends(outside, inside),
    ...(outside.stdout === inside.stdout ? [] : [textDifference(outside.stdout, inside.stdout)]),
    ...files(program, outside, inside),
    ...mentions(program, inside),
  ]
}

/** An isolate has no exit code: 0 is `ok`, others are `error`. */
function ends(outside: Ended, { outcome, exitCode }: EndedInside): string[] {
  const { status, error } = outcome
  const isSame =
    exitCode === null
      ? status === (outside.exitCode === 0 ? 'ok' : 'error')
      : exitCode === outside.exitCode
  const why = error ? ` ${error.code}: ${error.message.slice(0, shownCharsMax)}` : ''
  return isSame ? [] : [`exit ${outside.exitCode}, inside ${exitCode} ${status}${why}`]
}

function textDifference(outside: string, inside: string): string {
  const [expected, actual] = [outside.split('\n'), inside.split('\n')]
  const found = expected.findIndex((line, index) => line !== actual[index])
  const at = found === -1 ? expected.length : found
  const [first, second] = [expected[at], actual[at]].map((line) =>
    JSON.stringify(line ?? null).slice(0, shownCharsMax),
  )
  return `stdout line ${at + 1}: ${first}, inside ${second}`
}

function files({ creates }: Program, outside: Ended, inside: Ended): string[] {
  return creates.flatMap((name) => {
    const [expected, actual] = [outside.created.get(name), inside.created.get(name)]
    if (!expected) return []
    if (!actual) return [`"${name}" did not come back`]
    const length = unstable.test(name) ? magicBytes : undefined
    const isSame = expected.subarray(0, length).equals(actual.subarray(0, length))
    return isSame ? [] : [`"${name}" has another content`]
  })
}

/** Compared with everything printed for the program's author. */
function mentions({ mentions }: Program, { printed }: EndedInside): string[] {
  return mentions.filter((text) => !printed.includes(text)).map((text) => `no mention of "${text}"`)
}
