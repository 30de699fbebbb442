import * as z from 'zod'
import { conversationState, type ConversationState } from '../agent-wire/conversation.ts'
import { MayflyError } from '../contract/error.ts'
import type { StoredCapture } from '../contract/evidence.ts'
import { machineSave, type MachineSave } from '../contract/machine-save.ts'
import { tryParseJson } from '../lib/parse-json.ts'
import { gatherBytes, readGuestMemory, type CapturedMachine } from './captured-machine.ts'

/** The parts of a capture from which a machine is resumed. */
export interface ResumableSave {
  readonly save: MachineSave
  /** Position of the conversation with its agent. */
  readonly position: ConversationState
  readonly memory: AsyncIterable<Uint8Array>
  readonly devices: AsyncIterable<Uint8Array>
}

const saved = ['machine.json', 'devices.img', 'memory.zst', 'memory.json', 'agent.json']
const partBytesMax = 2 ** 20

/** Whether a capture has all parts of a save. */
export function isResumable({ name, parts }: Pick<StoredCapture, 'name' | 'parts'>): boolean {
  return saved.every((part) => parts.some((one) => one.name === `${name}/${part}`))
}

/**
 * The save of a capture. Throws MayflyError NOT_FOUND where it has none, and STATE for parts that do not fit; reading its bytes throws as
 * `readImage` does.
 */
export async function resumableSave(machine: CapturedMachine): Promise<ResumableSave> {
  const { capture, read } = machine
  if (!isResumable(capture)) throw noSave()
  const part = async (name: string) => {
    const own = capture.parts.find((one) => one.name === `${capture.name}/${name}`)
    if (!own || own.size > partBytesMax) throw unfit()
    return tryParseJson((await gatherBytes(read(own.name))).toString())
  }
  const machineFile = savedMachine.safeParse(await part('machine.json'))
  const position = conversationState.safeParse(await part('agent.json'))
  if (!machineFile.success || !position.success) throw unfit()
  return {
    save: machineFile.data.save,
    position: position.data,
    memory: readGuestMemory(machine),
    devices: read(`${capture.name}/devices.img`),
  }
}

const savedMachine = z.object({ save: machineSave })

function noSave(): MayflyError {
  return new MayflyError('NOT_FOUND', 'Cannot resume a capture: it has no save of a machine', {
    hint: 'A job of tier "microvm" has one, if its machine was cloned and could be copied whole: "mayfly evidence show" says what is missing',
  })
}

function unfit(): MayflyError {
  return new MayflyError('STATE', 'Cannot resume a capture: the parts of its save do not fit')
}
