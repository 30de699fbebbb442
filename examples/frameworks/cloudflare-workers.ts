// `@cloudflare/codemode` names classes of Workers that its code tool does not use: outside of Workers, empty ones will do.
import { registerHooks } from 'node:module'

const source =
  'export class DurableObject {}; export class RpcTarget {}; export class WorkerEntrypoint {}'

export function standIn(): void {
  const url = `data:text/javascript,${encodeURIComponent(source)}`
  registerHooks({
    resolve: (specifier, context, next) =>
      specifier === 'cloudflare:workers' ? { url, shortCircuit: true } : next(specifier, context),
  })
}
