import type { WallTrial } from './wall-trial.ts'

const MiB = 2 ** 20
const PAGE_BYTES = 65_536
const TIMEOUT_MS = 250
/** WASI errno "not capable". */
const NOT_CAPABLE = '76'

/** WebAssembly modules exporting only `run`, with their source. */
const modules = {
  /** `(path_open 3 0 "/" 1 0 (i64 2) (i64 2) 0 8)`: opens the root to read */
  opens:
    'AGFzbQEAAAABEgJgCX9/f39/fn5/fwF/YAABfwIkARZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxCXBhdGhfb3BlbgAAAwIBAQUDAQABBxACA3J1bgABBm1lbW9yeQIAChgBFgBBA0EAQRBBAUEAQgJCAkEAQQgQAAsLBwEAQRALAS8=',
  /** `(sock_accept 3 0 8)` */
  accepts:
    'AGFzbQEAAAABDAJgA39/fwF/YAABfwImARZ3YXNpX3NuYXBzaG90X3ByZXZpZXcxC3NvY2tfYWNjZXB0AAADAgEBBQMBAAEHEAIDcnVuAAEGbWVtb3J5AgAKDAEKAEEDQQBBCBAACw==',
  /** `(loop (br_if 0 (i32.ge_s (memory.grow 1) 0))) (memory.size)` */
  grows: 'AGFzbQEAAAABBQFgAAF/AwIBAAUDAQABBxACA3J1bgAABm1lbW9yeQIAChIBEAADQEEBQABBAE4NAAs/AAs=',
  /** `(loop (br 0))` */
  loops: 'AGFzbQEAAAABBAFgAAADAgEABwcBA3J1bgAACgkBBwADQAwACws=',
  /** `(i32.store 0 (i32.add (i32.load 0) 1)) (i32.load 0)` */
  counts:
    'AGFzbQEAAAABBQFgAAF/AwIBAAUDAQABBxACA3J1bgAABm1lbW9yeQIAChYBFABBAEEAKAIAQQFqNgIAQQAoAgAL',
  /** `(i32.load -4)` */
  reaches: 'AGFzbQEAAAABBQFgAAF/AwIBAAUDAQABBxACA3J1bgAABm1lbW9yeQIACgkBBwBBfCgCAAs=',
}

/** Trials of a wall that runs modules. */
export const moduleTrials: readonly WallTrial[] = [
  [
    'network',
    'accepting on a socket',
    async (run) => (await run(modules.accepts)).resultText === NOT_CAPABLE,
  ],
  [
    'files',
    'opening the root folder',
    async (run) => (await run(modules.opens)).resultText === NOT_CAPABLE,
  ],
  [
    'memory',
    'growing page by page, with 32 MiB allowed',
    async (run) => {
      const { resultText } = await run(modules.grows, { memory: 32 * MiB })
      return Number(resultText) > 0 && Number(resultText) <= (32 * MiB) / PAGE_BYTES
    },
  ],
  [
    'time',
    `a loop, ended after ${TIMEOUT_MS} ms`,
    async (run) => (await run(modules.loops, { timeout: TIMEOUT_MS })).status === 'timeout',
  ],
  [
    'secrets',
    'looking for what the module before had left',
    async (run) => {
      await run(modules.counts)
      return (await run(modules.counts)).resultText === '1'
    },
  ],
  [
    'objects',
    'an address out of its memory',
    async (run) => (await run(modules.reaches)).error?.code === 'WASM_TRAP',
  ],
]
