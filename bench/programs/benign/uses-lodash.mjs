// packages: lodash
import lodash from 'lodash'

/** A published package by its own interface. */
export default () => {
  const { chunk, groupBy, sumBy, orderBy } = lodash
  const rows = Array.from({ length: 3000 }, (_, n) => ({ n, part: n % 13 }))
  const groups = Object.values(groupBy(rows, 'part'))
  return [chunk(rows, 100).length, sumBy(rows, 'n'), orderBy(groups, 'length').length]
}
