import { MayflyError } from '../contract/error.ts'
import { stopSignal } from './stop-signal.ts'

/** Cancels downloads and child processes at the first stop signal, so that the store can be cleaned up. */
export function abortOnStop(): AbortSignal {
  const stop = new AbortController()
  void stopSignal().then((name) =>
    stop.abort(new MayflyError('UNAVAILABLE', `Cannot continue: received ${name}`)),
  )
  return stop.signal
}
