// The executor of Code Mode, as `import 'mayfly/codemode'` finds it.
import { load } from './entries.js'

export const { executor } = load('src/sdk/frameworks/codemode.ts')
