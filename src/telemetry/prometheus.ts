import type { HistogramValue, Labels, Reading, Series } from './instrument.ts'

export const prometheusType = 'text/plain; version=0.0.4; charset=utf-8'

/** Prometheus text format 0.0.4: dots become underscores; units and `_total` are suffixes. */
export function prometheusText(readings: readonly Reading[]): string {
  return readings.map(family).join('')
}

function family(reading: Reading): string {
  const name = nameOf(reading)
  const lines = [
    `# HELP ${name} ${reading.description.replace(/\\/g, '\\\\').replace(/\n/g, '\\n')}`,
    `# TYPE ${name} ${reading.kind}`,
    ...reading.series.flatMap((series) => linesOf(name, series)),
  ]
  return `${lines.join('\n')}\n`
}

function linesOf(name: string, { labels, value, histogram }: Series): readonly string[] {
  if (histogram) return buckets(name, labels, histogram)
  return [sample(name, labels, value ?? 0)]
}

/** Buckets are cumulative; the last is +Inf. */
function buckets(name: string, labels: Labels, value: HistogramValue): readonly string[] {
  let below = 0
  const lines = value.counts.map((count, at) => {
    below += count
    const le = at < value.bounds.length ? String(value.bounds[at]) : '+Inf'
    return sample(`${name}_bucket`, { ...labels, le }, below)
  })
  return [
    ...lines,
    sample(`${name}_sum`, labels, value.sum),
    sample(`${name}_count`, labels, value.count),
  ]
}

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(
    ([label, text]) => `${plain(label)}="${escaped(String(text))}"`,
  )
  return `${name}${pairs.length > 0 ? `{${pairs.join(',')}}` : ''} ${value}`
}

function nameOf({ name, unit, kind }: Reading): string {
  const base = plain(name)
  const suffix = { s: '_seconds', By: '_bytes' }[unit] ?? ''
  return `${base}${suffix}${kind === 'counter' ? '_total' : ''}`
}

function plain(name: string): string {
  return name.replace(/[^A-Za-z0-9_]/g, '_')
}

function escaped(text: string): string {
  return text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')
}
