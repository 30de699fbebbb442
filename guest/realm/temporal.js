// V8's Temporal with a clock of 1 ms resolution, like every other clock here.
import { P } from './primordials.js'
import { bound } from './scope.js'

const { Temporal } = bound
const { Now, Instant } = Temporal
const fromMs = Instant.fromEpochMilliseconds
const zoned = P.uncurry(Instant.prototype.toZonedDateTimeISO)
const { timeZoneId } = Now
const { ZonedDateTime } = Temporal
const plainDateTime = P.uncurry(ZonedDateTime.prototype.toPlainDateTime)
const plainDate = P.uncurry(ZonedDateTime.prototype.toPlainDate)
const plainTime = P.uncurry(ZonedDateTime.prototype.toPlainTime)
const here = (zone) => zoned(instant(), zone === undefined ? timeZoneId() : zone)

function instant() {
  return fromMs(P.now())
}

const coarse = {
  __proto__: null,
  instant,
  zonedDateTimeISO: (zone) => here(zone),
  plainDateTimeISO: (zone) => plainDateTime(here(zone)),
  plainDateISO: (zone) => plainDate(here(zone)),
  plainTimeISO: (zone) => plainTime(here(zone)),
}
for (const name in coarse) P.hide(Now, name, coarse[name])

export { Temporal }
