// The AI SDK: `npm install ai mayfly`. Of the SDK's own example only the line with `sandboxSession` is another.
import { generateText, stepCountIs, tool } from 'ai'
import { Mayfly } from 'mayfly'
import { codeTool, sandboxSession } from 'mayfly/ai'
import { z } from 'zod'
import { languageModel } from './scripted-models.ts'

await using mayfly = await Mayfly.open()
await using box = await mayfly.open({ language: 'sh' })

const shell = tool({
  description: 'Run a shell command',
  inputSchema: z.object({ command: z.string() }),
  execute: ({ command }, { abortSignal, experimental_sandbox: sandbox }) =>
    sandbox!.run({ command, ...(abortSignal && { abortSignal }) }),
})

const { text } = await generateText({
  model: languageModel([
    { shell: { command: 'echo "print(6 * 7)" > answer.py && python3 answer.py' } },
    { run_code: { language: 'js', code: 'return [1, 2, 3].map((n) => n * n)' } },
  ]),
  tools: { shell, run_code: codeTool(mayfly) },
  experimental_sandbox: sandboxSession(box),
  stopWhen: stepCountIs(8),
  prompt: 'Write a program that prints the answer, and run it. Then square three numbers.',
})
console.log(text)
