import { writeFile } from 'node:fs/promises'
import { MayflyError, messageOf } from '../contract/error.ts'
import type { Outcome } from '../contract/outcome.ts'
import { lifeOf } from '../web/page/picture/life.js'
import { pictureOf } from '../web/page/picture/picture.js'
import { svgOf } from '../web/page/picture/svg.js'

/** Writes the picture of a life that is over, as SVG. Throws MayflyError USAGE where the file cannot be written. */
export async function savePicture(outcome: Outcome, file: string): Promise<void> {
  try {
    await writeFile(file, svgOf(pictureOf(lifeOf(outcome))))
  } catch (cause) {
    throw new MayflyError('USAGE', `Cannot write the picture "${file}": ${messageOf(cause)}`, {
      hint: 'Name a file in a folder that is there and may be written to',
      cause,
    })
  }
}
