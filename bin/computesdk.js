// The provider of ComputeSDK, as `import 'mayfly/computesdk'` finds it.
import { load } from './entries.js'

export const { computeProvider } = load('src/sdk/frameworks/computesdk.ts')
