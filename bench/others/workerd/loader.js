/** Runs the code of each request in a new worker, used once. */
const compatibilityDate = '2026-01-01'

export default {
  async fetch(request, env) {
    const { code, input } = await request.json()
    const worker = env.LOADER.get(crypto.randomUUID(), () => ({
      compatibilityDate,
      mainModule: 'effect.js',
      modules: { 'effect.js': effect(code) },
      globalOutbound: null,
    }))
    const body = JSON.stringify(input)
    return worker.getEntrypoint().fetch('http://effect/', { method: 'POST', body })
  },
}

const effect = (code) => `
  async function run(input) { ${code} }
  export default {
    async fetch(request) {
      return Response.json({ result: await run(await request.json()) })
    },
  }`
