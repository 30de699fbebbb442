import type { Outcome } from '../contract/outcome.ts'
import { imageBytesMax, imageType } from './file-answer.ts'
import { keptMinutes, type KeptFile } from './kept-files.ts'
import { answerOutcome, type ToolAnswer, type ToolImage } from './tool-answer.ts'
import type { ToolHost } from './tool-host.ts'

const IMAGES_MAX = 8
const chartSuffix = new Map([
  ['text/html', 'html'],
  ['image/svg+xml', 'svg'],
])

/** The outcome for a model, with its images, and the way to its other files. */
export function answerRun(outcome: Outcome, host: Pick<ToolHost, 'kept'>): ToolAnswer {
  const answer = answerOutcome(outcome)
  const { id, artifacts } = outcome
  const texts = displayedTexts(outcome)
  if (artifacts.length + texts.length === 0) return answer
  if (texts.length > 0) host.kept.keep(id, texts)
  const kept = host.kept.list().filter(({ run }) => run === id)
  const images = imagesOf(outcome, kept)
  const left = artifacts.length + texts.length - kept.length
  const lines = [
    images.length > 0 && `images of the program, below: ${images.length}`,
    texts.length > 0 &&
      `charts of the program, as files: ${texts.map(({ path }) => path).join(', ')}`,
    kept.length > 0 &&
      `read_file with session "${id}" reads these files for ${keptMinutes} minutes`,
    left > 0 && `not kept, because they are too large: ${left}`,
  ]
  const text = [answer.text, ...lines.filter((one) => one !== false)].join('\n')
  return { ...answer, text, images, run: id }
}

/** Pages and drawings that the program displayed as text, under names that no artifact has. */
function displayedTexts({
  display,
  artifacts,
}: Outcome): readonly Pick<KeptFile, 'path' | 'bytes'>[] {
  const taken = new Set(artifacts.map(({ path }) => path))
  return display.flatMap(({ type, text }, at) => {
    const suffix = chartSuffix.get(type)
    const path = `shown-${at + 1}.${suffix}`
    if (suffix === undefined || text === undefined || taken.has(path)) return []
    return [{ path, bytes: Buffer.from(text) }]
  })
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
