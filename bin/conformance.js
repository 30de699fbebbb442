// The conformance suite, as `import 'mayfly/conformance'` finds it.
import { load } from './entries.js'

export const { chapters, conformance, inJs, inNode, inPython, inShell, tableFor } = load(
  'tests/conformance/suite.ts',
)
