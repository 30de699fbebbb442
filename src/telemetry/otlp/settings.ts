import type { Config } from '../../contract/config.ts'
import { MayflyError } from '../../contract/error.ts'
import type { Attributes } from './span.ts'

/** Export settings from OpenTelemetry's standard variables and `[telemetry]`; variables win. */
export interface OtlpSettings {
  /** Undefined: signal off. */
  readonly tracesUrl: string | undefined
  readonly metricsUrl: string | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly resource: Attributes
  /** Milliseconds. */
  readonly timeout: number
  readonly spansEvery: number
  readonly metricsEvery: number
}

type Environment = Readonly<Record<string, string | undefined>>

/** Throws MayflyError CONFIG naming the invalid variable. */
export function readOtlpSettings(
  config: Pick<Config, 'telemetry' | 'environment'>,
  env: Environment,
): OtlpSettings {
  const base = env['OTEL_EXPORTER_OTLP_ENDPOINT'] || config.telemetry.endpoint
  return {
    tracesUrl: urlOf('TRACES', 'v1/traces', base, env),
    metricsUrl: urlOf('METRICS', 'v1/metrics', base, env),
    headers: pairsOf('OTEL_EXPORTER_OTLP_HEADERS', env),
    resource: {
      'service.name': config.telemetry.service_name,
      'deployment.environment.name': config.environment,
      'process.pid': process.pid,
      'process.runtime.name': 'nodejs',
      'process.runtime.version': process.versions.node,
      ...pairsOf('OTEL_RESOURCE_ATTRIBUTES', env),
      ...(env['OTEL_SERVICE_NAME'] && { 'service.name': env['OTEL_SERVICE_NAME'] }),
    },
    timeout: millisecondsOf('OTEL_EXPORTER_OTLP_TIMEOUT', 10_000, env),
    spansEvery: millisecondsOf('OTEL_BSP_SCHEDULE_DELAY', 5_000, env),
    metricsEvery: millisecondsOf('OTEL_METRIC_EXPORT_INTERVAL', 60_000, env),
  }
}

/** A signal's own variable is used as is; the common endpoint gets the signal's path appended. */
function urlOf(
  signal: 'TRACES' | 'METRICS',
  path: string,
  base: string | undefined,
  env: Environment,
): string | undefined {
  const own = `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`
  if (env[`OTEL_${signal}_EXPORTER`] === 'none') return undefined
  const given = env[own] || (base && `${base.replace(/\/$/, '')}/${path}`)
  if (!given) return undefined
  const url = URL.parse(given)
  if (url && /^https?:$/.test(url.protocol)) return url.href
  throw wrong(env[own] ? own : 'OTEL_EXPORTER_OTLP_ENDPOINT', 'expected an http or https URL')
}

/** Parses `key=value,key=value` with percent-encoded values. */
function pairsOf(name: string, env: Environment): Readonly<Record<string, string>> {
  const pairs = (env[name] ?? '').split(',').filter((pair) => pair.trim() !== '')
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=')
      if (at < 1) throw wrong(name, 'expected "key=value" pairs with commas between them')
      return [pair.slice(0, at).trim(), decoded(name, pair.slice(at + 1).trim())]
    }),
  )
}

function decoded(name: string, text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw wrong(name, 'expected values in percent-encoding')
  }
}

function millisecondsOf(name: string, fallback: number, env: Environment): number {
  const text = env[name]
  if (text === undefined || text === '') return fallback
  const ms = Number(text)
  if (Number.isSafeInteger(ms) && ms >= 1 && ms <= 86_400_000) return ms
  throw wrong(name, 'expected milliseconds from 1 to 86400000')
}

function wrong(name: string, message: string): MayflyError {
  return new MayflyError('CONFIG', `Cannot use ${name}: ${message}`)
}
