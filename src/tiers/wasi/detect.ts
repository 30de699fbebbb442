import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import type { WorkerSpares } from '../../walls/worker-spares.ts'
import { assertAnswers, assertJailed } from '../../walls/proof.ts'

/**
 * Runs guests with a known result, and checks their worker: a worker without seccomp or a memory watch is refused.
 * Features beyond the WebAssembly core (SIMD) are probed by using them.
 */
export async function probe(provider: Provider, workers: WorkerSpares): Promise<Availability> {
  const worker = await workers.ready()
  await assertJailed(worker)
  await assertAnswers(provider, { ...called, code: doubles, inputText: '21', expect: '42' })
  const { layers, missing } = worker.wall
  const features = (await hasSimd(provider)) ? ['simd'] : []
  return { available: true, strength: strengthOf.wasm, layers, missing, features }
}

const called = { language: 'wasm', entry: 'function' } as const

/** `(func (export "run") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 2)))` */
const doubles = 'AGFzbQEAAAABBgFgAX8BfwMCAQAHBwEDcnVuAAAKCQEHACAAQQJsCw=='
/** `(func (export "run") (param i32) (result i32) (i32x4.extract_lane 3 (i32x4.splat (local.get 0))))` */
const splats = 'AGFzbQEAAAABBgFgAX8BfwMCAQAHBwEDcnVuAAAKCwEJACAA/RH9GwML'

async function hasSimd(provider: Provider): Promise<boolean> {
  return await assertAnswers(provider, {
    ...called,
    code: splats,
    inputText: '7',
    expect: '7',
  }).then(
    () => true,
    () => false,
  )
}
