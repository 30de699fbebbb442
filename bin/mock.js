// The mock, as `import 'mayfly/mock'` finds it.
import { load } from './entries.js'

export const { createMockProvider } = load('src/tiers/mock/provider.ts')
