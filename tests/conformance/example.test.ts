import { guests } from '../../examples/provider/guests.ts'
import { shell } from '../../examples/provider/shell.ts'
import { conformance } from './suite.ts'

/** S4-1: a third-party provider, written against the public names alone. */
conformance('shell, the example', async () => ({ provider: shell, close: async () => {} }), {
  language: 'sh',
  entry: 'program',
  guests,
})
