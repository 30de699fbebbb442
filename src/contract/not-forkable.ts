import { MayflyError } from './error.ts'
import { remedyText, type Remedy } from './remedy.ts'

const machine: Remedy = { field: 'tier', value: 'microvm' }

/** Error of a wall that cannot be forked. */
export function notForkable(): MayflyError {
  return new MayflyError('FORK_UNSUPPORTED', 'Cannot fork the session: its wall cannot be copied', {
    hint: `Open it with ${remedyText(machine)}: virtual machines that are clones of a template can be forked ("mayfly providers" shows who can)`,
    remedies: [machine],
  })
}
