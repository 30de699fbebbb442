import type { Config } from '../contract/config.ts'
import type { Sink } from '../contract/event.ts'
import type { House } from './house.ts'
import type { Views } from './views.ts'

/** What hears the stream beside the record. */
export interface Telemetry {
  readonly sinks: readonly Sink[]
  /** Where there is somebody to look. */
  readonly views?: Views
  /** Whether spans go out, so that requests need a place in a trace. */
  readonly traces: boolean
  /** Adds what only the whole knows. */
  watch(house: House): void
  /** Sends what waits, within seconds. */
  close(): Promise<void>
}

type Environment = Readonly<Record<string, string | undefined>>
type Settled = Pick<Config, 'telemetry' | 'environment'>

/**
 * Opens what is asked for: views for a server, and OpenTelemetry where a collector is configured. What is off is not
 * loaded. Throws MayflyError CONFIG.
 */
export async function openTelemetry(
  config: Settled,
  env: Environment,
  isServer: boolean,
): Promise<Telemetry> {
  const isOn = hasCollector(config, env)
  if (!isOn && !isServer) return nothing
  const [{ createViews }, { processReadings }, { houseReadings }] = await Promise.all([
    import('./views.ts'),
    import('./process.ts'),
    import('./house.ts'),
  ])
  const views = createViews()
  views.meters.observe(processReadings)
  const watch = (house: House): void => views.meters.observe(houseReadings(house))
  if (!isOn) return { ...nothing, sinks: views.sinks, views, watch }
  const [{ openExporter }, { readSettings }] = await Promise.all([
    import('./otlp/exporter.ts'),
    import('./otlp/settings.ts'),
  ])
  const settings = readSettings(config, env)
  const exporter = openExporter(settings, views.meters)
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
