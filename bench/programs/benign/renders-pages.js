// packages: handlebars
// Pages from a template of a published package.
import Handlebars from 'handlebars/dist/cjs/handlebars.js'

export default () => {
  const page = Handlebars.compile('{{#each rows}}<li>{{name}}: {{sum}}</li>\n{{/each}}')
  const rows = Array.from({ length: 300 }, (_, n) => ({ name: `<row ${n}>`, sum: n * 1.5 }))
  return page({ rows }).length
}
