import { MayflyError } from '../contract/error.ts'
import { stopSignal } from './stop-signal.ts'

/** Ends downloads and programs at the first stop signal, so that the store is left tidy. */
export function abortOnStop(): AbortSignal {
  const stop = new AbortController()
  void stopSignal().then((name) =>
    stop.abort(new MayflyError('UNAVAILABLE', `Cannot go on: ${name} came`)),
  )
  return stop.signal
}
