// The backend of deep agents, as `import 'mayfly/deepagents'` finds it.
import { load } from './entries.js'

export const { sandboxBackend } = load('src/sdk/frameworks/deepagents.ts')
