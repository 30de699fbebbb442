import { suite, test } from 'node:test'
import { createUserKernelProvider } from '../../src/tiers/userkernel/provider.ts'
import { drawn, isSampled } from '../fixtures/drawn.ts'
import { isUserKernelThere, noUserKernel } from '../walls/user-kernel-here.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { makeOwnKernelWalls, whyNoImages } from './microvm.ts'
import { inJs } from './stand.ts'
import { chapters, conformance } from './suite.ts'

/** Drawn in every run, whole in the long one: each case boots a guest, which takes half a second of processor time. */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const isRoot = process.getuid?.() === 0
const titles = chapters.flatMap(({ cases }) => cases.map(({ title }) => title))
const languages = isSampled && !isLong ? [inPython] : [inJs, inNode, inPython, inShell]
const skip = isUserKernelThere() ? whyNoImages() : noUserKernel

if (skip === undefined) {
  for (const language of languages) {
    const taken = new Set(isSampled && !isLong ? drawn(titles, language.language) : titles)
    conformance(
      `userkernel, ${language.language}`,
      () => makeOwnKernelWalls(createUserKernelProvider, {}, language),
      language,
      (title) => taken.has(title),
    )
  }
  if (isRoot && isLong)
    conformance(
      'userkernel, python, without a uid of its own and without cgroups',
      () => makeOwnKernelWalls(createUserKernelProvider, { hide: ['root', 'cgroup'] }, inPython),
      inPython,
    )
} else
  suite('userkernel', () => {
    test('The provider keeps the contract', { skip }, () => {})
  })
