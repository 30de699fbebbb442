import { runModule } from './run.js'

/** `(module (func (export "_start")))` */
const NOTHING = 'AGFzbQEAAAABBAFgAAADAgEABwoBBl9zdGFydAAACgQBAgAL'

/** Compiles and runs a built-in module, so that the first real job finds warm code. */
export function warmUpModules() {
  const limits = { memoryBytes: 65_536, outputBytesMax: 0, resultBytesMax: 4 }
  const task = { entry: 'program', code: NOTHING, inputText: 'null', ...limits }
  runModule(task, { stdout() {}, stderr() {}, abandon() {}, collect() {} })
}
