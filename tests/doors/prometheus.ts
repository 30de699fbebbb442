import assert from 'node:assert/strict'

/** Parsed text in the Prometheus format 0.0.4. */
export interface Metrics {
  readonly series: readonly {
    readonly name: string
    readonly labels: Readonly<Record<string, string>>
    readonly value: number
  }[]
  /** Value of the series with exactly this key: `name{label="value",…}`. */
  value(series: string): number | undefined
  /** Sum over all series of a name. */
  sum(name: string): number
}

const help = /^# HELP ([A-Za-z_:][\w:]*) (?:[^\\\n]|\\\\|\\n)*$/
const type = /^# TYPE ([A-Za-z_:][\w:]*) (counter|gauge|histogram)$/
const sample = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (-?\d+(?:\.\d+)?(?:e[+-]\d+)?)$/
const label = /^([A-Za-z_]\w*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/

/** Parses strictly: an invalid line, order or total is an assertion error. */
export function metricsIn(text: string): Metrics {
  assert.ok(text.endsWith('\n') && !text.includes('\r'))
  const families = new Map<string, string>()
  const values = new Map<string, number>()
  const series: Metrics['series'][number][] = []
  let family = ''
  let helped = ''
  for (const line of text.slice(0, -1).split('\n')) {
    if (line.startsWith('# HELP ')) {
      helped = help.exec(line)?.[1] ?? assert.fail(line)
    } else if (line.startsWith('# TYPE ')) {
      const [, name = '', kind = ''] = type.exec(line) ?? assert.fail(line)
      assert.equal(name, helped, 'HELP stands before TYPE')
      assert.ok(!families.has(name), `${name} comes once`)
      assert.equal(kind === 'counter', name.endsWith('_total'), `${name} is a ${kind}`)
      families.set(name, kind)
      family = name
    } else {
      const [, name = '', pairs = '', value = ''] = sample.exec(line) ?? assert.fail(line)
      const base = families.get(family) === 'histogram' ? name.replace(suffix, '') : name
      assert.equal(base, family, `${name} stands below its TYPE`)
      const key = line.slice(0, line.lastIndexOf(' '))
      assert.ok(!values.has(key), `${key} comes once`)
      values.set(key, Number(value))
      series.push({ name, labels: labelsIn(pairs), value: Number(value) })
    }
  }
  for (const [name, kind] of families) if (kind === 'histogram') assertHistogram(name, series)
  return {
    series,
    value: (key) => values.get(key),
    sum: (name) =>
      series.filter((one) => one.name === name).reduce((total, { value }) => total + value, 0),
  }
}

const suffix = /_(bucket|sum|count)$/

function labelsIn(pairs: string): Record<string, string> {
  const labels: Record<string, string> = {}
  for (let rest = pairs; rest !== '';) {
    const [whole = '', name = '', value = ''] = label.exec(rest) ?? assert.fail(pairs)
    assert.ok(!Object.hasOwn(labels, name), `${name} comes once in ${pairs}`)
    labels[name] = value.replace(/\\(.)/g, (_, char) => (char === 'n' ? '\n' : String(char)))
    rest = rest.slice(whole.length)
  }
  return labels
}

/** Asserts that the buckets rise and that the last one equals the count. */
function assertHistogram(name: string, series: Metrics['series']): void {
  const last = new Map<string, number>()
  for (const one of series.filter((each) => each.name === `${name}_bucket`)) {
    const { le, ...labels } = one.labels
    const key = JSON.stringify(labels)
    assert.ok(one.value >= (last.get(key) ?? 0), `${name} rises`)
    last.set(key, one.value)
    if (le !== '+Inf') continue
    const count = series.find(
      (each) => each.name === `${name}_count` && JSON.stringify(each.labels) === key,
    )
    assert.equal(count?.value, one.value, `${name} ends with its count`)
  }
}
