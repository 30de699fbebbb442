// The adapters of the AI SDK, as `import 'mayfly/ai'` finds it.
import { load } from './entries.js'

export const { codeTool, sandboxSession } = load('src/sdk/frameworks/ai.ts')
