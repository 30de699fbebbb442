import { runModule } from './run.js'

/** `(module (func (export "_start")))` */
const NOTHING = 'AGFzbQEAAAABBAFgAAADAgEABwoBBl9zdGFydAAACgQBAgAL'

/** One module of ours, so that nothing on a real job's path runs for the first time. */
export function warmUpModules() {
  const limits = { memoryBytes: 65_536, outputBytesMax: 0, resultBytesMax: 4 }
  const task = { entry: 'program', code: NOTHING, inputText: 'null', ...limits }
  runModule(task, { stdout() {}, stderr() {} })
}
