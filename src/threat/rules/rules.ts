import { bufferOverflow } from './buffer-overflow.ts'
import { childProcess } from './child-process.ts'
import { cryptomining } from './cryptomining.ts'
import { evalRule } from './eval.ts'
import { filesystem } from './filesystem.ts'
import { importRule } from './import.ts'
import { network } from './network.ts'
import { processAccess } from './process-access.ts'
import { prototypePollution } from './prototype-pollution.ts'
import { requireRule } from './require.ts'
import type { Rule } from './rule.ts'
import { timingAttack } from './timing-attack.ts'
import { vmEscape } from './vm-escape.ts'

/** Every rule that reads the tree. OBFUSCATION, UNPARSED and UNREAD_DEPENDENCY come from the source as a whole. */
export const rules: readonly Rule[] = [
  vmEscape,
  cryptomining,
  childProcess,
  processAccess,
  filesystem,
  prototypePollution,
  evalRule,
  bufferOverflow,
  network,
  requireRule,
  importRule,
  timingAttack,
]
