// Cloudflare's Code Mode outside of Workers: `npm install @cloudflare/codemode ai zod mayfly`. Of its own example only the
// line with `executor` is another, and that with `standIn`, for a module that only Workers have.
import { generateText, stepCountIs, tool } from 'ai'
import { Mayfly } from 'mayfly'
import { executor } from 'mayfly/codemode'
import { z } from 'zod'
import { standIn } from './cloudflare-workers.ts'
import { languageModel } from './scripted-models.ts'

standIn()
const { createCodeTool } = await import('@cloudflare/codemode/ai')
await using mayfly = await Mayfly.open()

const tools = {
  getWeather: tool({
    description: 'Get weather for a location',
    inputSchema: z.object({ location: z.string() }),
    execute: async ({ location }) => `Weather in ${location}: 22 degrees, sunny`,
  }),
}
const codemode = createCodeTool({ tools, executor: executor(mayfly) })

const code = `async () => {
  const [paris, london] = await Promise.all(
    ['Paris', 'London'].map((location) => codemode.getWeather({ location })))
  return [paris, london]
}`
const { text } = await generateText({
  model: languageModel([{ codemode: { code } }]),
  tools: { codemode },
  stopWhen: stepCountIs(8),
  prompt: 'What is the weather in Paris and London?',
})
console.log(text)
