import { suite, test } from 'node:test'
import { findProgram } from '../../src/jail/facts.ts'
import { makeIsolates } from './isolated-vm.ts'
import { conformance } from './suite.ts'

/** Poorer machines than this one: what they lack is hidden. A short run has an ordinary user's in earnest. */
if (process.env['MAYFLY_LONG'] !== undefined)
  conformance('isolated-vm, as an ordinary user', () => makeIsolates({ hide: ['root', 'cgroup'] }))
conformance('isolated-vm, without namespaces', () => makeIsolates({ hide: ['namespaces'] }))

if (findProgram('bwrap'))
  conformance('isolated-vm, in bubblewrap', () => makeIsolates({ prefer: 'bubblewrap' }))
else
  suite('isolated-vm, in bubblewrap', () => {
    test('It keeps the contract', { skip: 'bwrap is missing' }, () => {})
  })
