import type { Config } from '../contract/config.ts'
import type { Sink } from '../contract/event.ts'
import type { ObservedAssembly } from './assembly-readings.ts'
import type { Views } from './views.ts'

/** Consumers of the event stream besides the audit log. */
export interface Telemetry {
  readonly sinks: readonly Sink[]
  /** Views of a server. */
  readonly views?: Views
  /** True if spans are exported, so that requests need a trace context. */
  readonly traces: boolean
  /** Adds observers of the assembled server. */
  watch(assembly: ObservedAssembly): void
  /** Flushes pending data, within seconds. */
  close(): Promise<void>
}

type Environment = Readonly<Record<string, string | undefined>>
type Settled = Pick<Config, 'telemetry' | 'environment'>

/**
 * Opens views for a server, and OpenTelemetry if a collector is configured. Disabled parts are not loaded. Throws
 * MayflyError CONFIG.
 */
export async function openTelemetry(
  config: Settled,
  env: Environment,
  isServer: boolean,
): Promise<Telemetry> {
  const isOn = hasCollector(config, env)
  if (!isOn && !isServer) return nothing
  const [{ createViews }, { processReadings }, { assemblyReadings }] = await Promise.all([
    import('./views.ts'),
    import('./process.ts'),
    import('./assembly-readings.ts'),
  ])
  const views = createViews()
  views.meters.observe(processReadings)
  const watch = (assembly: ObservedAssembly): void =>
    views.meters.observe(assemblyReadings(assembly))
  if (!isOn) return { ...nothing, sinks: views.sinks, views, watch }
  const [{ Exporter }, { readOtlpSettings }] = await Promise.all([
    import('./otlp/exporter.ts'),
    import('./otlp/settings.ts'),
  ])
  const settings = readOtlpSettings(config, env)
  const exporter = new Exporter(settings, views.meters)
  return {
    sinks: [...views.sinks, exporter.sink],
    views,
    traces: settings.tracesUrl !== undefined,
    watch,
    close: () => exporter.close(),
  }
}

const nothing: Telemetry = {
  sinks: [],
  traces: false,
  watch: () => undefined,
  close: async () => undefined,
}

function hasCollector({ telemetry }: Settled, env: Environment): boolean {
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return false
  return Boolean(
    env['OTEL_EXPORTER_OTLP_ENDPOINT'] ||
    env['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'] ||
    env['OTEL_EXPORTER_OTLP_METRICS_ENDPOINT'] ||
    telemetry.endpoint,
  )
}
