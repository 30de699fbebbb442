import * as z from 'zod'

/**
 * Resumable save of a virtual machine: memory and device state of a stopped guest, without a network.
 *
 * It is resumed by the mechanism, the release and the devices that it was saved with, on the image that was its disk. Whoever sends it
 * has verified its bytes; the receiver treats memory and device state as hostile all the same, because a guest wrote both.
 */
const digest = z.string().regex(/^[0-9a-f]{64}$/)

export const machineSave = z.strictObject({
  mechanism: z.string().regex(/^[a-z][a-z0-9-]{0,31}$/),
  /** Interpreter of its image. */
  program: z.enum(['node', 'python']),
  accelerator: z.string().regex(/^[a-z]{1,16}$/),
  memoryMiB: z.number().int().min(64).max(65_536),
  /** Digest of the image that is its disk. */
  image: digest,
  /** Release of the hypervisor. */
  release: z.string().regex(/^\d+\.\d+\.\d+$/),
  /** Digest of its devices, as the hypervisor is asked for them. */
  devices: digest,
})
export type MachineSave = z.infer<typeof machineSave>

/** Kinds of frames (`src/lib/frames.ts`) by which a save is sent. `memory`: u32 number of its first block, then bytes. */
export const saveKinds = { memory: 1, devices: 2, end: 3 } as const
/** Memory is sent in whole blocks, those of zeros left out. */
export const saveBlockBytes = 2 ** 16
export const savePieceBytesMax = 2 ** 20
export const saveDevicesBytesMax = 8 * 2 ** 20
