import { guests } from '../../examples/provider/guests.ts'
import { shell } from '../../examples/provider/shell.ts'
import { conformance } from './suite.ts'

/** S4-1: a provider of somebody else, written against the published names alone. */
conformance('shell, the example', async () => ({ provider: shell, close: async () => {} }), {
  language: 'sh',
  entry: 'program',
  guests,
})
