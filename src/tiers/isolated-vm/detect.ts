import type { Availability, Provider } from '../../contract/provider.ts'
import { strengthOf } from '../../contract/tier.ts'
import type { WorkerSpares } from '../../walls/worker-spares.ts'
import { assertAnswers, assertJailed } from '../../walls/proof.ts'

/** Runs a guest with a known result, and checks its worker: a worker without seccomp or a memory watch is refused. */
export async function probe(provider: Provider, workers: WorkerSpares): Promise<Availability> {
  const worker = await workers.ready()
  await assertJailed(worker)
  await assertAnswers(provider, {
    language: 'js',
    entry: 'body',
    code: 'return [1, 2, 3].map((n) => n * input.by)',
    inputText: '{"by":7}',
    expect: '[7,14,21]',
  })
  const { layers, missing } = worker.wall
  return { available: true, strength: strengthOf.isolate, layers, missing }
}
