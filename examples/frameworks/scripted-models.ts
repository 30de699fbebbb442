// Models of a script, so that the examples run without a key: each answer is a call of one tool with its arguments, and the
// last one says what the tools returned. In your program they are those of a provider, such as `anthropic('…')`.
import { BaseChatModel } from '@langchain/core/language_models/chat_models'
import { AIMessage, type BaseMessage } from '@langchain/core/messages'
import { MockLanguageModelV4 } from 'ai/test'

export type Script = readonly Readonly<Record<string, Record<string, unknown>>>[]

type Generated = Awaited<ReturnType<MockLanguageModelV4['doGenerate']>>

const usage = {
  inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 },
  outputTokens: { total: 1, text: 1, reasoning: 0 },
}

/** A model of the AI SDK. */
export function languageModel(script: Script): MockLanguageModelV4 {
  let turn = 0
  return new MockLanguageModelV4({
    doGenerate: async ({ prompt }): Promise<Generated> => {
      const [toolName, input] = Object.entries(script[turn++] ?? {})[0] ?? []
      const said = prompt.flatMap(({ role, content }) => (role === 'tool' ? content : []))
      const finish = (unified: 'tool-calls' | 'stop') => ({ unified, raw: undefined })
      if (toolName === undefined)
        return {
          content: [{ type: 'text', text: JSON.stringify(said) }],
          finishReason: finish('stop'),
          usage,
          warnings: [],
        }
      const call = { toolCallId: `call-${turn}`, toolName, input: JSON.stringify(input) }
      return {
        content: [{ type: 'tool-call', ...call }],
        finishReason: finish('tool-calls'),
        usage,
        warnings: [],
      }
    },
  })
}

/** A chat model of LangChain. */
export function chatModel(script: Script): BaseChatModel {
  return new ScriptedChatModel(script)
}

class ScriptedChatModel extends BaseChatModel {
  readonly #script: Script
  #turn = 0

  constructor(script: Script) {
    super({})
    this.#script = script
  }

  override _llmType(): string {
    return 'scripted'
  }

  override bindTools(): this {
    return this
  }

  override async _generate(_messages: BaseMessage[]) {
    const [name, args] = Object.entries(this.#script[this.#turn++] ?? {})[0] ?? []
    const tool_calls =
      name === undefined ? [] : [{ name, args: args ?? {}, id: `call-${this.#turn}` }]
    const message = new AIMessage({ content: name === undefined ? 'Done.' : '', tool_calls })
    return { generations: [{ text: message.text, message }] }
  }
}
