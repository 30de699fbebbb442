import { after, before, suite, test } from 'node:test'
import { openPodman, withoutPodman, type Podman } from '../fixtures/podman.ts'
import { makeContainers } from './containers.ts'
import { inNode, inPython, inShell } from './guests-of-programs.ts'
import { inJs } from './stand.ts'
import { conformance } from './suite.ts'

/**
 * Rootless Podman of a user that the test makes. Part of the long run, because a container takes half a second to start and as long
 * to remove; `tests/walls/containers.test.ts` is part of every run.
 */
const isLong = process.env['MAYFLY_LONG'] !== undefined
const skip = withoutPodman() || (!isLong && 'the long run takes it')

suite('containers of rootless Podman', { skip }, () => {
  let podman: Podman
  before(async () => {
    podman = openPodman()
    await podman.serve()
    process.env['CONTAINER_HOST'] = `unix://${podman.socket}`
  })
  after(() => podman?.[Symbol.asyncDispose]())

  if (!skip)
    for (const language of [inJs, inPython, inNode, inShell])
      conformance(
        `podman, ${language.language}`,
        () => makeContainers({}, language.language),
        language,
      )
  else test('The provider keeps the contract', { skip }, () => {})
})
