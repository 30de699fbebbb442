import { suite, test } from 'node:test'
import { drawn, isSampled } from '../fixtures/drawn.ts'
import { makePlayed, whyNotPlayed } from '../walls/firecracker-here.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { chapters, conformance } from './suite.ts'

/**
 * In clones of a played Firecracker (tests/fixtures/firecracker/guest.ts): requests, channels and ends of the engine, and no guest kernel.
 * Drawn in every run, whole in the long one.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
/** Looks for processes below this one, but a monitor is a child of init: tests/walls/firecracker-jobs.test.ts kills one. */
const notHere = 'A wall whose process is killed from outside ends as failed, and the next job runs'
const titles = chapters
  .flatMap(({ cases }) => cases.map(({ title }) => title))
  .filter((title) => title !== notHere)
const languages = isLong ? [inNode, inPython, inShell] : [isSampled ? inPython : inNode]
const skip = whyNotPlayed()

if (skip === undefined)
  for (const language of languages) {
    const taken = new Set(isLong ? titles : drawn(titles, language.language, 14))
    conformance(
      `a played Firecracker, ${language.language}`,
      () => makePlayed(language.language),
      language,
      (title) => taken.has(title),
    )
  }
else
  suite('a played Firecracker', () => {
    test('The provider keeps the contract', { skip }, () => {})
  })
