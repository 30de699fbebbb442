import _ from './lodash.js'

export default (rows) =>
  _.mapValues(_.groupBy(rows, 'city'), (group) => _.round(_.meanBy(group, 'age'), 2))
