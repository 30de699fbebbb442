import { suite, test } from 'node:test'
import { findProgram } from '../../src/os/find-program.ts'
import { makeDraw } from '../fixtures/drawn.ts'
import { makeIsolates } from './isolated-vm.ts'
import { inJs } from './stand.ts'
import { conformance } from './suite.ts'

/**
 * Hides features of this machine to simulate poorer ones. A short run covers the ordinary user's case for real.
 */
if (process.env['MAYFLY_LONG'] !== undefined)
  conformance('isolated-vm, as an ordinary user', () => makeIsolates({ hide: ['root', 'cgroup'] }))
conformance(
  'isolated-vm, without namespaces',
  () => makeIsolates({ hide: ['namespaces'] }),
  inJs,
  makeDraw('without namespaces'),
)

if (findProgram('bwrap'))
  conformance(
    'isolated-vm, in bubblewrap',
    () => makeIsolates({ prefer: 'bubblewrap' }),
    inJs,
    makeDraw('in bubblewrap'),
  )
else
  suite('isolated-vm, in bubblewrap', () => {
    test('The provider keeps the contract', { skip: 'bwrap is missing' }, () => {})
  })
