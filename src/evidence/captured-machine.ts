import * as z from 'zod'
import { MayflyError } from '../contract/error.ts'
import type { StoredCapture } from '../contract/evidence.ts'
import { parseJson } from '../lib/parse-json.ts'
import { basesFolder, openMemoryBase } from './memory-bases.ts'
import { guestMemory, memoryImage } from './memory-image.ts'

/** A stored capture of a virtual machine, with a reader of its parts that checks their digests. */
export interface CapturedMachine {
  readonly capture: Pick<StoredCapture, 'name' | 'parts' | 'base'>
  /** State folder. */
  readonly state: string
  readonly read: (part: string) => AsyncIterable<Uint8Array>
}

/** Name of the memory image, which is made when it is read. */
export function imageOf({ name, parts }: CapturedMachine['capture']): string | undefined {
  const has = (part: string) => parts.some((one) => one.name === `${name}/${part}`)
  return has('memory.zst') && has('machine.json') ? `${name}/memory.elf` : undefined
}

/** Name of its template's memory, for display. */
export function baseNameOf({ base }: CapturedMachine['capture']): string | undefined {
  return base === undefined ? undefined : `${basesFolder}/${base}`
}

/**
 * Checks the memory of its template: that the capture's own part names it, and that its bytes have the digest. Throws MayflyError STATE, and
 * NOT_FOUND if it is not kept.
 */
export async function verifyBase(machine: CapturedMachine): Promise<void> {
  await using _ = await openBase(machine, await describe(machine))
}

/** The memory as an ELF core file, in chunks (`memoryImage`). Throws MayflyError as `verifyBase` does. */
export async function* readImage(machine: CapturedMachine): AsyncGenerator<Uint8Array> {
  yield* readMemory(machine, memoryImage)
}

/** All memory of the guest, in chunks of 1 MiB. Throws as `readImage` does. */
export async function* readGuestMemory(machine: CapturedMachine): AsyncGenerator<Uint8Array> {
  yield* readMemory(machine, guestMemory)
}

async function* readMemory(machine: CapturedMachine, compose: typeof memoryImage) {
  const { capture, read } = machine
  const description = await describe(machine)
  await using base = await openBase(machine, description)
  const pages = await gatherBytes(read(`${capture.name}/memory.json`))
  const changed = read(`${capture.name}/memory.zst`)
  const isOneRange = description.ram === 'one range'
  yield* compose({ pages, changed, base, isOneRange })
}

const machineShape = z.object({
  ram: z.literal('one range').optional(),
  template: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
})

type Description = z.infer<typeof machineShape>

async function describe({ capture, read }: CapturedMachine): Promise<Description> {
  const text = await gatherBytes(read(`${capture.name}/machine.json`))
  return machineShape.parse(parseJson(text.toString()))
}

/** Undefined for a machine that was booted. */
async function openBase({ capture, state }: CapturedMachine, { template }: Description) {
  if (template === null) return undefined
  if (capture.base === undefined || capture.base === template)
    return await openMemoryBase(state, template)
  throw new MayflyError('STATE', 'Cannot read the memory of a template: the capture names another')
}

/** Bytes of a small part. */
export async function gatherBytes(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(chunks))
}
