/** Results of one file of tests, or of one program. */
export interface LibraryRow {
  readonly name: string
  readonly tests: number
  readonly differences: readonly (readonly [name: string, why: string])[]
}

/** Section of docs/library-tests.md about one runtime: totals, differences by reason, and unexplained ones. */
export function libraryTable(runtime: string, rows: readonly LibraryRow[]): string {
  const sum = (count: (row: LibraryRow) => number) => rows.reduce((all, row) => all + count(row), 0)
  const [tests, others] = [sum((row) => row.tests), sum((row) => row.differences.length)]
  const lines = rows.flatMap(({ name, differences }) => {
    const reasons = Map.groupBy(differences, ([, why]) => why)
    return [...reasons].map(([why, of]) => {
      return `| \`${name}\` | ${titlesOf(of.map(([test]) => test)).join(', ')} | ${why} |`
    })
  })
  const equal = rows.filter(({ differences }) => differences.length === 0)
  return [
    `## ${runtime}\n`,
    `${rows.length} files, ${tests} tests that succeed outside: ${tests - others} succeed in a wall, ${others} do not.\n`,
    ...(lines.length > 0 ? ['| file | differs | why |', '|---|---|---|', ...lines, ''] : []),
    `The same: ${equal.map(({ name, tests: count }) => `${name} (${count})`).join(', ')}.`,
  ].join('\n')
}

/** Classes of tests with the number of those that differ, by name where they are few. */
function titlesOf(tests: readonly string[]): readonly string[] {
  const classes = Map.groupBy(tests, (test) => test.split('.').slice(-2, -1).join())
  return [...classes].map(([name, of]) => {
    const titles = of.map((test) => `\`${test.split('.').at(-1)}\``)
    return of.length > 3 ? `\`${name}\` (${of.length})` : titles.join(', ')
  })
}
