import { zstdDecompressSync } from 'node:zlib'

/** Offsets of the setup header (Documentation/arch/x86/boot.rst of Linux). */
const SETUP_SECTORS_AT = 0x1f1
const MAGIC_AT = 0x202
const PROTOCOL_AT = 0x206
const PAYLOAD_OFFSET_AT = 0x248
const PAYLOAD_BYTES_AT = 0x24c
const HEADER_BYTES = 0x250
/** First protocol whose header names the payload. */
const PROTOCOL_LEAST = 0x208
const SECTOR_BYTES = 512
const ZSTD_MAGIC = 0xfd2fb528
const ELF_MAGIC = 0x464c457f
const KERNEL_BYTES_MAX = 256 * 2 ** 20

/**
 * The ELF file (vmlinux) in a bzImage of x86, which some machine monitors need: they enter a kernel at its 64-bit entry point, and have
 * none of the code that unpacks one. Debian 13 compresses its kernels by zstd; the size of the file is in the last four bytes
 * of the payload. Throws Error with the cause.
 */
export function unpackedKernel(vmlinuz: Buffer): Buffer {
  const payload = payloadOf(vmlinuz)
  if (payload.length < 8 || payload.readUInt32LE(0) !== ZSTD_MAGIC)
    throw new Error('its kernel is not compressed by zstd')
  const bytes = payload.readUInt32LE(payload.length - 4)
  if (bytes > KERNEL_BYTES_MAX) throw new Error(`its kernel is too large (${bytes} bytes)`)
  const kernel = zstdDecompressSync(payload.subarray(0, -4), { maxOutputLength: KERNEL_BYTES_MAX })
  if (kernel.length !== bytes || kernel.length < 64 || kernel.readUInt32LE(0) !== ELF_MAGIC)
    throw new Error('its kernel holds no ELF file')
  return kernel
}

function payloadOf(vmlinuz: Buffer): Buffer {
  const isKernel =
    vmlinuz.length >= HEADER_BYTES && vmlinuz.toString('latin1', MAGIC_AT, PROTOCOL_AT) === 'HdrS'
  if (!isKernel || vmlinuz.readUInt16LE(PROTOCOL_AT) < PROTOCOL_LEAST)
    throw new Error('its kernel is no bzImage')
  // 0 stands for four sectors, in kernels that are older than the protocol.
  const sectors = vmlinuz[SETUP_SECTORS_AT] || 4
  const start = (sectors + 1) * SECTOR_BYTES + vmlinuz.readUInt32LE(PAYLOAD_OFFSET_AT)
  const end = start + vmlinuz.readUInt32LE(PAYLOAD_BYTES_AT)
  if (end > vmlinuz.length) throw new Error('its kernel is cut off')
  return vmlinuz.subarray(start, end)
}
