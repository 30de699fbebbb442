// LangChain's deep agents: `npm install deepagents langchain @langchain/core mayfly`. Of their own example only the line
// with `sandboxBackend` is another.
import { BaseSandbox, createDeepAgent } from 'deepagents'
import { Mayfly } from 'mayfly'
import { sandboxBackend } from 'mayfly/deepagents'
import { chatModel } from './scripted-models.ts'

await using mayfly = await Mayfly.open()
await using box = await mayfly.open({ language: 'sh' })

const agent = createDeepAgent({
  model: chatModel([
    {
      write_file: {
        file_path: '/work/fib.py',
        content: 'a, b = 0, 1\nwhile a < 50:\n  print(a)\n  a, b = b, a + b\n',
      },
    },
    { execute: { command: 'python3 fib.py | tail -1' } },
    { edit_file: { file_path: '/work/fib.py', old_string: '50', new_string: '500' } },
    { grep: { pattern: '500', path: '/work' } },
    { execute: { command: 'python3 fib.py | tail -1' } },
  ]),
  systemPrompt: 'You are a coding assistant. Your files are below /work.',
  backend: sandboxBackend(BaseSandbox, box),
})

const { messages } = await agent.invoke({
  messages: [{ role: 'user', content: 'Print Fibonacci numbers below 50, then below 500' }],
})
for (const { type, text } of messages) if (type === 'tool') console.log(text)
