import type { Outcome } from '../contract/outcome.ts'
import { imageBytesMax, imageType } from './file-answer.ts'
import { keptMinutes, type KeptFile } from './kept-files.ts'
import { answerOutcome, type ToolAnswer, type ToolImage } from './tool-answer.ts'
import type { ToolHost } from './tool-host.ts'

const IMAGES_MAX = 8

/** The outcome for a model, with its images, and the way to its other files. */
export function answerRun(outcome: Outcome, host: Pick<ToolHost, 'kept'>): ToolAnswer {
  const answer = answerOutcome(outcome)
  const { id, artifacts } = outcome
  if (artifacts.length === 0) return answer
  const kept = host.kept.list().filter(({ run }) => run === id)
  const images = imagesOf(outcome, kept)
  const left = artifacts.length - kept.length
  const lines = [
    images.length > 0 && `images of the program, below: ${images.length}`,
    kept.length > 0 &&
      `read_file with session "${id}" reads these files for ${keptMinutes} minutes`,
    left > 0 && `not kept, because they are too large: ${left}`,
  ]
  const text = [answer.text, ...lines.filter((one) => one !== false)].join('\n')
  return { ...answer, text, images, run: id }
}

/** Images that the program displayed, then those it wrote, as many as fit. */
function imagesOf(
  { display, artifacts }: Outcome,
  kept: readonly KeptFile[],
): readonly ToolImage[] {
  const bytesOf = new Map(kept.map(({ path, bytes }) => [path, bytes]))
  const shown = display.flatMap(({ path }) => (path === undefined ? [] : [path]))
  const paths = new Set([...shown, ...artifacts.map(({ path }) => path)])
  const images: ToolImage[] = []
  let room = imageBytesMax
  for (const path of paths) {
    const bytes = bytesOf.get(path)
    const mimeType = bytes && imageType(bytes)
    if (!bytes || mimeType === undefined || bytes.length > room) continue
    if (images.length === IMAGES_MAX) break
    room -= bytes.length
    images.push({ mimeType, base64: Buffer.from(bytes).toString('base64') })
  }
  return images
}
