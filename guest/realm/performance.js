// Whole milliseconds since the release; finer clocks allow side channels between tenants.
import { P } from './primordials.js'
import { ask } from './scope.js'

const performance = { now: () => ask('clock') }
P.defineProperty(performance, P.symbolToStringTag, {
  __proto__: null,
  value: 'Performance',
  configurable: true,
})

export { performance }
