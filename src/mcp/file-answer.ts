import { isUtf8 } from 'node:buffer'
import type { SessionListing } from '../contract/exec.ts'
import { sanitiseLine } from '../output/sanitise.ts'
import { answerCharactersMax, fenced, type ToolAnswer } from './tool-answer.ts'

export const entriesMax = 300
/** Maximum bytes of the images of an answer. */
export const imageBytesMax = 2 ** 20
const PATH_CHARACTERS_MAX = 300
/** Continuation bytes of the longest UTF-8 sequence. */
const CONTINUATION_MAX = 3

export function answerListing({ entries, truncated }: SessionListing): ToolAnswer {
  let [characters, lineCharacters] = [0, 0]
  const shown = entries
    .slice(0, entriesMax)
    .map((entry) => ({ entry, line: lineOf(entry) }))
    .filter(({ entry, line }) => {
      characters += JSON.stringify(entry).length + 1
      lineCharacters += line.length + 1
      return Math.max(characters, lineCharacters) <= answerCharactersMax
    })
  const isCut = truncated || shown.length < entries.length
  const lines = shown.map(({ line }) => line)
  const text =
    lines.length === 0 ? 'No files' : fenced('files', lines.join('\n'), answerCharactersMax)
  const more = isCut ? '\n\nThe list is truncated: set `path` to a folder' : ''
  return {
    text: `${text}${more}`,
    data: { entries: shown.map(({ entry }) => entry), truncated: isCut },
  }
}

/** A name for a reader; the data has it as it is, because other tools take it. */
function lineOf({ path, type, size }: SessionListing['entries'][number]): string {
  const name = sanitiseLine(path.slice(0, PATH_CHARACTERS_MAX))
  return type === 'file' ? `${name} (${size} bytes)` : `${name} (${type})`
}

/** Answer with a part of a file: text if it is UTF-8, an image if it is one, else base64. */
export function answerFile(
  bytes: Uint8Array,
  asked: { readonly path: string; readonly offset: number; readonly length: number },
): ToolAnswer {
  const { path, offset } = asked
  const of = { path, size: bytes.length, offset }
  const mimeType = imageType(bytes)
  if (mimeType !== undefined && offset === 0 && bytes.length <= imageBytesMax) {
    const base64 = Buffer.from(bytes).toString('base64')
    const data = { ...of, content: '', encoding: 'image' }
    return { text: `An image of ${bytes.length} bytes`, data, images: [{ mimeType, base64 }] }
  }
  const { part, isText } = partOf(bytes, asked)
  const content = Buffer.from(part).toString(isText ? 'utf8' : 'base64')
  const next = offset + part.length
  const hasMore = next < bytes.length
  const more = hasMore ? `\n\nThe file continues at offset ${next} of ${bytes.length}` : ''
  return {
    text: `${fenced(isText ? 'content' : 'content (base64)', content, answerCharactersMax)}${more}`,
    data: {
      ...of,
      content,
      encoding: isText ? 'utf8' : 'base64',
      ...(hasMore && { next }),
    },
  }
}

/** Cuts a part at a character boundary of UTF-8; other bytes at three quarters of the length, since base64 lengthens them. */
function partOf(
  bytes: Uint8Array,
  { offset, length }: { readonly offset: number; readonly length: number },
): { readonly part: Uint8Array; readonly isText: boolean } {
  const end = Math.min(bytes.length, offset + length)
  for (let back = 0; back <= CONTINUATION_MAX && end - back > offset; back++) {
    const part = bytes.subarray(offset, end - back)
    if (isUtf8(part)) return { part, isText: true }
    if (end === bytes.length) break
  }
  const most = Math.max(1, Math.floor((length * 3) / 4))
  return { part: bytes.subarray(offset, offset + most), isText: end <= offset }
}

/** Detects an image by its magic bytes, because the guest chooses the file name. */
export function imageType(bytes: Uint8Array): string | undefined {
  const head = Buffer.from(bytes.subarray(0, 12))
  if (head.subarray(0, 8).equals(Buffer.from('89504e470d0a1a0a', 'hex'))) return 'image/png'
  if (head.subarray(0, 3).equals(Buffer.from('ffd8ff', 'hex'))) return 'image/jpeg'
  if (/^GIF8[79]a/.test(head.toString('latin1'))) return 'image/gif'
  const isWebp = head.toString('latin1', 0, 4) === 'RIFF' && head.toString('latin1', 8) === 'WEBP'
  return isWebp ? 'image/webp' : undefined
}
