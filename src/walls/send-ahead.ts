import type { Task } from '../contract/provider.ts'

/*
 * Files and standard input of a job travel ahead of it, as bytes and in pieces. In the one JSON text of the job a file
 * of 20 MB was held four times over by the runner (base64, frame, text, bytes), which the kernel charges to the wall:
 * jobs ended at their memory limit before they began.
 */

/** Smaller files are part of the job: a frame for each of two thousand small files would cost more. */
const LARGE_UNITS = 64 * 1024
/** Size of one frame with its head; runners read it into a fixed buffer. */
const PIECE_BYTES = 256 * 1024

type File = Task['files'][number]
interface Content {
  readonly content: string
  readonly encoding: 'utf8' | 'base64'
}

export function isSentAhead({ content, type = 'file' }: File): boolean {
  return type === 'file' && content.length > LARGE_UNITS
}

/** Frames in order, each with a head; the first of a file truncates it. */
export function* framesAheadOf({ files, stdin }: Pick<Task, 'files' | 'stdin'>): Generator<Buffer> {
  for (const file of files.filter(isSentAhead))
    yield* cut(file, { path: file.path, executable: file.executable ?? false })
  if (stdin && isLargeInput(stdin)) yield* cut(stdin, { stdin: true })
}

export function isLargeInput({ content }: Content): boolean {
  return content.length > LARGE_UNITS
}

function* cut({ content, encoding }: Content, about: object): Generator<Buffer> {
  const bytes = Buffer.from(content, encoding)
  for (let at = 0; at === 0 || at < bytes.length; at += PIECE_BYTES) {
    const head = Buffer.from(`${JSON.stringify({ ...about, first: at === 0 })}\n`)
    yield Buffer.concat([head, bytes.subarray(at, at + PIECE_BYTES)])
  }
}
